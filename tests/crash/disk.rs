//! A disk without room: what cannot be stored is refused for now, what was accepted stays, and the server goes on when
//! there is room again.
//!
//! That the files of the running server may not grow is set by `RLIMIT_FSIZE`, which needs no privileges.

use std::{path::Path, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use crate::{
    friends::Friends,
    line::Line,
    load::{Cast, Load},
    seeded,
    served::Served,
    support::{Engine, TestServer},
    until, up_to, verify,
};

const ROUNDS: usize = 4;
/// Between two full disks, and how long one lasts, at most.
const LONGEST: Duration = Duration::from_millis(1_500);
/// Refusals to see while there is no room, and messages after there is.
const SOME: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_for_now_and_loses_nothing() {
    let mut rng = seeded();
    let server = TestServer::start(Engine::Sqlite).await;
    let cast = Cast::create(&server).await;
    let friends = Friends::meet(&server).await;
    let (database, address) = server.halt().await;
    let line = Line::to(address);
    let mut served = Served::start(database.config(), address);
    let load = Load::start(&cast, &line);
    let talk = friends.talk().await;
    until("the first message", || line.accepted() > 0).await;
    let roomy = getrlimit(Resource::Fsize);
    for _ in 0..ROUNDS {
        tokio::time::sleep(up_to(&mut rng, LONGEST)).await;
        let before = line.unavailable();
        // Journal and database may fill what they have, and no more.
        let room = Some(largest(database.folder.path()));
        prlimit(Some(served.pid()), Resource::Fsize, Rlimit { current: room, ..roomy }).unwrap();
        until("a refusal while the disk is full", || line.unavailable() >= before + SOME).await;
        tokio::time::sleep(up_to(&mut rng, LONGEST)).await;
        prlimit(Some(served.pid()), Resource::Fsize, roomy).unwrap();
        let accepted = line.accepted();
        until("new messages when there is room", || line.accepted() >= accepted + SOME).await;
    }
    let said = talk.end().await;
    let done = load.end().await;
    served.kill().await;
    let server = TestServer::open(database).await;
    verify::check(&server, &cast, &done).await;
    let accepted: usize = done.written.iter().map(|(_, promises)| promises.len()).sum();
    println!(
        "{ROUNDS} times full; {accepted} messages accepted and there, {} answers of 503 with Retry-After, {} delivered again \
         and recognised, {} one-time keys given out once each; {said} messages of the client SDK",
        line.unavailable(),
        done.again,
        done.keys.len()
    );
    assert_eq!(served.faults(), Vec::<String>::new());
    server.finish().await;
}

/// The size of the largest file in a folder.
fn largest(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).max().unwrap()
}
