//! The load: pairs that write and read, and callers that fetch one-time keys, until they are told to stop. They
//! never lose hope: whatever had no answer is sent again, the same bytes.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use sigilo::clock::{Clock as _, SystemClock};
use sigilo_wire::{
    ClientMessageId, ConversationId, Role,
    message::{Accepted, SendMessage},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    line::{Came, Line},
    support::{
        TestServer,
        clinic::Clinic,
        device::{Device, relate},
    },
};

/// Doctors, and how many patients write to each.
const DOCTORS: usize = 2;
const PATIENTS: usize = 3;
/// Between two messages of one sender, and two fetches of one caller: the disk is to be busy, not the processor.
const BREATH: Duration = Duration::from_millis(10);
/// One-time keys of each kind in a publication.
const ONE_TIME_KEYS: u32 = 40;
/// How long readers may take for what was written.
const DRAIN: Duration = Duration::from_secs(60);

/// A patient who writes to a doctor.
#[derive(Clone)]
pub struct Pair {
    pub patient: Arc<Device>,
    pub doctor: Arc<Device>,
    pub conversation: ConversationId,
}

/// The clinic and its pairs.
pub struct Cast {
    pub clinic: Clinic,
    pub pairs: Vec<Pair>,
    pub doctors: Vec<Arc<Device>>,
}

impl Cast {
    pub async fn create(server: &TestServer) -> Self {
        let clinic = Clinic::create(server, "carga").await;
        let (mut pairs, mut doctors) = (Vec::new(), Vec::new());
        for number in 0..DOCTORS {
            let address = format!("doctor-{number}@carga.example");
            let doctor = Arc::new(Device::create(server, &clinic, Role::Doctor, &address).await);
            for place in 0..PATIENTS {
                let address = format!("patient-{number}-{place}@carga.example");
                let patient = Device::create(server, &clinic, Role::Patient, &address).await;
                relate(server, &patient, &doctor).await;
                let conversation = patient.start(server, &doctor).await;
                patient.publish_seal(server, &clinic, conversation, &[&doctor]).await;
                pairs.push(Pair { patient: Arc::new(patient), doctor: Arc::clone(&doctor), conversation });
            }
            doctors.push(doctor);
        }
        Self { clinic, pairs, doctors }
    }
}

/// A message and what the server promised.
pub type Promise = (SendMessage, Accepted);

/// What a writer was promised, and how many of its attempts had no answer.
type Written = (Vec<Promise>, usize);

/// What a doctor's device got in a conversation: each message once, in the order of its first coming.
pub type Read = HashMap<ConversationId, Vec<(i64, ClientMessageId)>>;

/// What the load did.
pub struct Done {
    pub written: Vec<(Pair, Vec<Promise>)>,
    pub read: Vec<Read>,
    /// Deliveries that the devices knew already.
    pub again: usize,
    /// Attempts without an answer.
    pub vain: usize,
    /// One-time keys as they were given out, both kinds.
    pub keys: Vec<String>,
}

/// The load under way.
pub struct Load {
    stop: watch::Sender<bool>,
    written: watch::Sender<Option<HashMap<ConversationId, usize>>>,
    writers: Vec<(Pair, JoinHandle<Written>)>,
    readers: Vec<JoinHandle<(Read, usize)>>,
    callers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    pub fn start(cast: &Cast, line: &Line) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (written, expected) = watch::channel(None);
        let writers = cast.pairs.iter().enumerate().map(|(number, pair)| {
            let writer = write(line.clone(), pair.clone(), number % 2 == 0, stopped.clone());
            (pair.clone(), tokio::spawn(writer))
        });
        let reader = |doctor: &Arc<Device>| {
            let theirs = cast.pairs.iter().filter(|pair| pair.doctor.user == doctor.user);
            let theirs = theirs.map(|pair| pair.conversation).collect();
            tokio::spawn(read(line.clone(), Arc::clone(doctor), theirs, expected.clone()))
        };
        let caller = |pair: &Pair| tokio::spawn(fetch_keys(line.clone(), pair.clone(), stopped.clone()));
        Self {
            writers: writers.collect(),
            readers: cast.doctors.iter().map(reader).collect(),
            callers: cast.pairs.iter().map(caller).collect(),
            stop,
            written,
        }
    }

    /// Ends it, once everything that was written is read.
    pub async fn end(self) -> Done {
        self.stop.send_replace(true);
        let mut done = Done { written: Vec::new(), read: Vec::new(), again: 0, vain: 0, keys: Vec::new() };
        for (pair, writer) in self.writers {
            let (promises, vain) = writer.await.unwrap();
            done.vain += vain;
            done.written.push((pair, promises));
        }
        for caller in self.callers {
            done.keys.extend(caller.await.unwrap());
        }
        let counts = done.written.iter().map(|(pair, promises)| (pair.conversation, promises.len()));
        self.written.send_replace(Some(counts.collect()));
        for reader in self.readers {
            let (read, again) = timeout(DRAIN, reader).await.expect("what was written is delivered").unwrap();
            done.again += again;
            done.read.push(read);
        }
        done
    }
}

/// Writes one message after the other, by socket or by HTTP.
async fn write(
    line: Line,
    pair: Pair,
    by_socket: bool,
    stop: watch::Receiver<bool>,
) -> (Vec<Promise>, usize) {
    let (mut promises, mut vain) = (Vec::new(), 0);
    let mut socket = None;
    while !*stop.borrow() {
        let text = format!("line {}", promises.len());
        let message =
            pair.patient.message_at(SystemClock.now(), pair.conversation, &text, &[&pair.doctor], |_| {});
        let body = json!(message);
        let accepted = loop {
            let came = match (by_socket, &mut socket) {
                (false, _) => line.post(&pair.patient, pair.conversation, &body).await,
                (true, None) => {
                    socket = line.open(&pair.patient).await;
                    continue;
                }
                (true, Some(open)) => match open.post(pair.conversation, &message).await {
                    Some(came) => came,
                    None => {
                        socket = None;
                        Came::Later("cut".to_owned())
                    }
                },
            };
            match came {
                Came::Answer(accepted) => break accepted,
                Came::Later(_) => vain += 1,
            }
            tokio::time::sleep(BREATH).await;
        };
        promises.push((message, accepted));
        tokio::time::sleep(BREATH).await;
    }
    (promises, vain)
}

/// Reads and acknowledges, until it has as many of each conversation as were written.
async fn read(
    line: Line,
    doctor: Arc<Device>,
    theirs: Vec<ConversationId>,
    mut expected: watch::Receiver<Option<HashMap<ConversationId, usize>>>,
) -> (Read, usize) {
    let (mut read, mut seen, mut again) = (Read::new(), HashSet::new(), 0);
    let complete = |read: &Read, expected: &Option<HashMap<ConversationId, usize>>| {
        let count = |conversation: &ConversationId| read.get(conversation).map_or(0, Vec::len);
        expected.as_ref().is_some_and(|all| theirs.iter().all(|one| count(one) >= all[one]))
    };
    'connection: loop {
        let Some(mut socket) = line.open(&doctor).await else { continue };
        let mut last = String::new();
        loop {
            if complete(&read, &expected.borrow_and_update()) {
                return (read, again);
            }
            let frame = tokio::select! {
                frame = socket.next() => frame,
                _ = expected.changed() => continue,
            };
            let Some(frame) = frame else { continue 'connection };
            let Some(event) = frame["event_id"].as_str() else { continue };
            assert!(last.as_str() < event, "{event} came after {last}");
            last = event.to_owned();
            if frame["type"] == "new_message" {
                let data = &frame["data"];
                let id: ClientMessageId = serde_json::from_value(data["client_message_id"].clone()).unwrap();
                let conversation = serde_json::from_value(data["conversation_id"].clone()).unwrap();
                let place = data["conversation_seq"].as_i64().unwrap();
                if seen.insert((conversation, id)) {
                    read.entry(conversation).or_default().push((place, id));
                } else {
                    again += 1;
                }
            }
            if socket.send(&json!({"type": "ack", "event_ids": [event]})).await.is_none() {
                continue 'connection;
            }
        }
    }
}

/// Fetches the doctor's bundles again and again; publishes new one-time keys for the doctor when they have run out.
async fn fetch_keys(line: Line, pair: Pair, stop: watch::Receiver<bool>) -> Vec<String> {
    let (mut keys, mut vain) = (Vec::new(), 0);
    let path = format!("/api/keys/{}/*/", pair.doctor.user);
    while !*stop.borrow() {
        // What is given out with an answer that is lost is used up all the same.
        if let Came::Answer(bundles) = line.ask(Method::GET, &path, &pair.patient.token, None).await {
            let bundle = &bundles["devices"][0];
            let kyber = Some(&bundle["kyber_pre_key"]["public_key"])
                .filter(|_| bundle["kyber_is_last_resort"] == false);
            keys.extend(
                kyber.into_iter().chain(bundle.get("pre_key").map(|key| &key["public_key"])).map(text),
            );
            if bundle.get("pre_key").is_none_or(Value::is_null) {
                let fresh = pair.doctor.keys(ONE_TIME_KEYS);
                line.insist(Method::PUT, "/api/keys/", &pair.doctor.token, Some(&fresh), &mut vain).await;
            }
        }
        tokio::time::sleep(BREATH).await;
    }
    keys
}

fn text(key: &Value) -> String {
    key.as_str().unwrap().to_owned()
}
