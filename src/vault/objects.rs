//! Files at rest: objects of an object store, each encrypted under a data key of its own
//! ([decision 29](../../docs/decisions/0029-the-vault-at-rest.md)).
//!
//! An object is the blob, sealed once more in segments as the blob itself is (`sigilo_seal::file`): its key comes from the
//! file's data key and the file's id. So any bytes of it are read without the bytes before them, and no object stands for
//! another one. Its name is `tenant/file/random`: no two attempts at one file write to one object, and what an attempt
//! left behind is found by its prefix.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::body::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use object_store::{
    ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, PutPayload, RetryConfig, aws::AmazonS3Builder,
    azure::MicrosoftAzureBuilder, gcp::GoogleCloudStorageBuilder, local::LocalFileSystem,
    path::Path as ObjectPath,
};
use sha2::{Digest as _, Sha256};
use sigilo_seal::{
    FileHead, FileSealer, RangeOpener,
    file::{Covering, FileLayout, HEAD_LENGTH, SEGMENT_LENGTH, sealed_len},
};
use sigilo_wire::{FileId, TenantId};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::{
    Error, Result, audit,
    config::Config,
    rng::{self, Entropy, EntropyRng},
    storage::keystore::DataKey,
};

/// What is handed to the store at a time: the least that S3 takes as a part.
const PART: usize = 5 * 1024 * 1024;
/// How many segments of an object are read at a time: half a MiB.
const WINDOW: u64 = 8;
/// How long the store is asked again before it counts as away.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long whoever asks whether it is there waits.
const PING_PATIENCE: Duration = Duration::from_secs(3);

/// The object store.
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    prefix: ObjectPath,
    /// The folder, where it is one.
    folder: Option<PathBuf>,
    transfers: Arc<Semaphore>,
}

impl std::fmt::Debug for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Objects({}/{})", self.store, self.prefix)
    }
}

/// What was handed over.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The object's name.
    pub object: String,
    /// SHA-256 of the blob.
    pub sha256: [u8; 32],
    /// What the blob begins with; `None` when it is too short to be one.
    pub head: Option<FileHead>,
}

/// Where a blob is.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The file.
    pub file: FileId,
    /// The object's name.
    pub object: String,
    /// The blob's length in bytes.
    pub length: u64,
}

impl Objects {
    /// The store of a configuration. Nothing is asked of it yet.
    ///
    /// # Errors
    /// When its address or its options make no sense.
    pub fn open(config: &Config) -> Result<Self> {
        let transfers = Arc::new(Semaphore::new(config.vault.transfers));
        let Some(address) = &config.vault.object_store_url else {
            let folder = config.objects_dir()?;
            let store = LocalFileSystem::new_with_prefix(&folder).map_err(Error::internal)?;
            // What is accepted is durable.
            let store = store.with_fsync(true).with_automatic_cleanup(true);
            let (store, prefix) = (Arc::new(store) as _, ObjectPath::default());
            return Ok(Self { store, prefix, folder: Some(folder), transfers });
        };
        let url: reqwest::Url =
            address.parse().map_err(|_| wrong(format!("'{address}' is no address of an object store")))?;
        let (store, prefix) = remote(&url, &config.object_store_options()?)?;
        Ok(Self { store, prefix, folder: None, transfers })
    }

    /// Asks the store to answer.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<()> {
        if let Some(folder) = &self.folder {
            return tokio::fs::metadata(folder).await.map(drop).map_err(away);
        }
        let path = self.prefix.clone().join("ready");
        let answer = tokio::time::timeout(PING_PATIENCE, self.store.head(&path)).await;
        match answer.map_err(|_| away("it does not answer"))? {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(away(error)),
        }
    }

    /// Seals the blob in a file of the spool into a new object, and hashes it on the way: in the memory of a part.
    ///
    /// # Errors
    /// `unavailable` when the store is away; then there is no object.
    pub async fn put(
        &self,
        key: &DataKey,
        (tenant, file): (TenantId, FileId),
        spooled: (&Path, u64),
        entropy: &dyn Entropy,
    ) -> Result<Placed> {
        let _turn = self.turn().await?;
        let object = format!("{tenant}/{file}/{}", audit::hex(&rng::bytes::<8>(entropy)));
        let sealer = FileSealer::new(&key.object_key(file), u64::MAX, &mut EntropyRng(entropy));
        let mut source = Source::open(spooled, sealer).await?;
        let path = self.path(&object)?;
        if sealed_len(spooled.1).map_err(Error::internal)? <= PART as u64 {
            let whole = source.part().await?;
            self.store.put(&path, PutPayload::from(whole)).await.map_err(away)?;
        } else {
            let mut upload = self.store.put_multipart(&path).await.map_err(away)?;
            let parts = async {
                loop {
                    let part = source.part().await?;
                    if part.is_empty() {
                        break;
                    }
                    upload.put_part(PutPayload::from(part)).await.map_err(away)?;
                }
                upload.complete().await.map(drop).map_err(away)
            };
            if let Err(error) = parts.await {
                // What cannot be taken back now the sweep takes back later.
                if let Err(error) = upload.abort().await {
                    tracing::warn!(%error, "parts of an object were left behind");
                }
                return Err(error);
            }
        }
        metrics::counter!("sigilo_vault_stored_bytes_total").increment(spooled.1);
        Ok(Placed { object, sha256: source.hash.finalize().into(), head: source.head })
    }

    /// These bytes of a blob, as they are read.
    ///
    /// # Errors
    /// `unavailable` when the store is away; an error also for an object that was changed. So may be each piece.
    pub async fn open_range(
        &self,
        key: &DataKey,
        kept: &Kept,
        wanted: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + 'static + use<>> {
        let turn = self.turn().await?;
        let path = self.path(&kept.object)?;
        let head = self.store.get_range(&path, 0..HEAD_LENGTH as u64).await.map_err(away)?;
        let head = FileHead::parse(&head).map_err(Error::internal)?;
        let sealed = sealed_len(kept.length).map_err(Error::internal)?;
        drop(turn);
        let opener = RangeOpener::new(&key.object_key(kept.file), &head, sealed).map_err(Error::internal)?;
        let covering = opener.layout().covering(wanted.clone());
        let (next, skip) = covering.map_or((0..0, 0), |Covering { segments, skip, .. }| (segments, skip));
        let left = wanted.end.saturating_sub(wanted.start);
        let (store, transfers) = (Arc::clone(&self.store), Arc::clone(&self.transfers));
        let reader = Reader { store, path, opener, next, skip, left, transfers };
        Ok(stream::try_unfold(reader, Reader::step))
    }

    /// A whole blob, as it is read.
    ///
    /// # Errors
    /// As [`Objects::open_range`].
    pub async fn open_whole(
        &self,
        key: &DataKey,
        kept: &Kept,
    ) -> Result<impl AsyncRead + Send + 'static + use<>> {
        let pieces = self.open_range(key, kept, 0..kept.length).await?;
        Ok(tokio_util::io::StreamReader::new(Box::pin(pieces.map_err(io::Error::other))))
    }

    /// Deletes every object of a file but one. What is not there is deleted already.
    ///
    /// # Errors
    /// `unavailable` when the store is away.
    pub async fn delete_all(&self, tenant: TenantId, file: FileId, but: Option<&str>) -> Result<()> {
        let folder = self.path(&format!("{tenant}/{file}"))?;
        if let Some(root) = &self.folder {
            delete_staged(&root.join(tenant.to_string()).join(file.to_string())).await?;
        }
        let but = but.map(|object| self.path(object)).transpose()?;
        let found: Vec<ObjectPath> =
            self.store.list(Some(&folder)).map_ok(|meta| meta.location).try_collect().await.map_err(away)?;
        for path in found.iter().filter(|path| Some(*path) != but.as_ref()) {
            match self.store.delete(path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(away(error)),
            }
        }
        Ok(())
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.transfers).acquire_owned().await.map_err(Error::internal)
    }

    fn path(&self, object: &str) -> Result<ObjectPath> {
        let whole = format!("{}/{object}", self.prefix);
        ObjectPath::parse(whole.trim_start_matches('/')).map_err(Error::internal)
    }
}

/// Deletes what broken transfers left in a folder of the store: beside `name` as `name#1`, which the store does not list.
/// S3 and its like keep such parts to themselves: a rule of the bucket's life cycle deletes them (docs/OPERATIONS.md).
async fn delete_staged(folder: &Path) -> Result<()> {
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(away(error)),
    };
    while let Some(entry) = entries.next_entry().await.map_err(away)? {
        if entry.file_name().to_string_lossy().contains('#') {
            match tokio::fs::remove_file(entry.path()).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(away(error)),
                _ => {}
            }
        }
    }
    Ok(())
}

/// What is read of a blob.
struct Reader {
    store: Arc<dyn ObjectStore>,
    path: ObjectPath,
    opener: RangeOpener,
    /// The segments still to be read.
    next: Range<u64>,
    /// Bytes of the next segment that are not wanted.
    skip: usize,
    /// Bytes still wanted.
    left: u64,
    /// A turn is taken for each piece: whoever reads slowly holds none meanwhile.
    transfers: Arc<Semaphore>,
}

impl Reader {
    async fn step(mut self) -> Result<Option<(Bytes, Self)>> {
        let window = self.next.start..self.next.end.min(self.next.start + WINDOW);
        let places: Vec<_> = window
            .clone()
            .filter_map(|number| Some((number, self.opener.layout().segment(number)?)))
            .collect();
        let (Some((_, first)), Some((_, last))) = (places.first(), places.last()) else { return Ok(None) };
        let range = first.sealed_offset..last.sealed_offset + last.sealed_length as u64;
        let turn = Arc::clone(&self.transfers).acquire_owned().await.map_err(Error::internal)?;
        let mut sealed = self.store.get_range(&self.path, range).await.map_err(away)?.to_vec();
        let mut blob = Vec::with_capacity(sealed.len());
        let mut rest = sealed.as_mut_slice();
        for (number, place) in places {
            let (segment, after) = rest
                .split_at_mut_checked(place.sealed_length)
                .ok_or_else(|| Error::internal("an object is shorter than its file"))?;
            let length = self.opener.segment_in_place(number, segment).map_err(Error::internal)?;
            blob.extend_from_slice(segment.get(..length).unwrap_or_default());
            rest = after;
        }
        drop(turn);
        let mut piece = Bytes::from(blob).slice(self.skip..);
        piece.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= piece.len() as u64;
        (self.next.start, self.skip) = (window.end, 0);
        Ok(Some((piece, self)))
    }
}

/// A blob of the spool on its way into an object.
struct Source {
    file: tokio::fs::File,
    layout: FileLayout,
    sealer: FileSealer,
    next: u64,
    hash: Sha256,
    head: Option<FileHead>,
    /// What is sealed and not handed over.
    ready: Vec<u8>,
}

impl Source {
    async fn open((path, length): (&Path, u64), sealer: FileSealer) -> Result<Self> {
        let file = tokio::fs::File::open(path).await.map_err(away)?;
        let layout = FileLayout::of_plain(length).map_err(Error::internal)?;
        let mut ready = Vec::with_capacity(
            PART.min(usize::try_from(layout.sealed_len()).unwrap_or(PART)) + SEGMENT_LENGTH,
        );
        ready.extend_from_slice(&sealer.head().to_bytes());
        Ok(Self { file, layout, sealer, next: 0, hash: Sha256::new(), head: None, ready })
    }

    /// The next [`PART`] bytes of the object, or what is left of it.
    async fn part(&mut self) -> Result<Bytes> {
        while self.ready.len() < PART
            && let Some(place) = self.layout.segment(self.next)
        {
            let mut segment = vec![0; place.sealed_length - sigilo_seal::file::TAG_LENGTH];
            self.file.read_exact(&mut segment).await.map_err(away)?;
            self.hash.update(&segment);
            if self.next == 0 {
                self.head = FileHead::parse(&segment).ok();
            }
            let tag = self.sealer.segment_in_place(&mut segment, place.last).map_err(Error::internal)?;
            self.ready.extend_from_slice(&segment);
            self.ready.extend_from_slice(&tag);
            self.next += 1;
        }
        let rest = self.ready.split_off(PART.min(self.ready.len()));
        Ok(Bytes::from(std::mem::replace(&mut self.ready, rest)))
    }
}

/// The store of an address, and where in it ours begins.
fn remote(
    url: &reqwest::Url,
    options: &std::collections::BTreeMap<String, String>,
) -> Result<(Arc<dyn ObjectStore>, ObjectPath)> {
    // Whoever is first installs it; it is the only one here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (scheme, path) = ObjectStoreScheme::parse(url).map_err(wrong)?;
    let retry = RetryConfig { max_retries: 3, retry_timeout: PATIENCE, ..RetryConfig::default() };
    macro_rules! build {
        ($builder:expr) => {{
            let mut builder = $builder.with_url(url.as_str()).with_retry(retry);
            for (name, value) in options {
                let key =
                    name.parse().map_err(|_| wrong(format!("'{name}' is no option of this object store")))?;
                builder = builder.with_config(key, value);
            }
            Arc::new(builder.build().map_err(wrong)?) as Arc<dyn ObjectStore>
        }};
    }
    // What the options do not say, the environment may: AWS_ACCESS_KEY_ID and its like.
    let store = match scheme {
        ObjectStoreScheme::AmazonS3 => build!(AmazonS3Builder::from_env()),
        ObjectStoreScheme::GoogleCloudStorage => build!(GoogleCloudStorageBuilder::from_env()),
        ObjectStoreScheme::MicrosoftAzure => build!(MicrosoftAzureBuilder::from_env()),
        _ => return Err(wrong(format!("'{}' is none of s3, gs, az", url.scheme()))),
    };
    Ok((store, ObjectPath::parse(path).map_err(wrong)?))
}

fn wrong(problem: impl std::fmt::Display) -> Error {
    Error::internal(format!("vault.object_store_url: {problem}"))
}

fn away(error: impl std::fmt::Display) -> Error {
    Error::Unavailable(format!("object store: {error}"))
}
