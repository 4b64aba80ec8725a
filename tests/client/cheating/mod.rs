//! A server that cheats. María sits at `sigilo chat`, and between her and the honest server stands somebody who
//! changes what it says. Each cheat is a line on her screen.

mod files;
mod keys;
mod messages;
mod people;
mod seals;

use std::{path::Path, process::Stdio};

use serde_json::{Value, json};
use sigilo_client::NewConversation;
use sigilo_wire::{Base64, ConversationId, Role, UserId, conversation::ConversationType};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Instant, timeout_at},
};

use crate::{
    crash::{PASSPHRASE, activate_at, open},
    people::{CLINICIAN, DEADLINE, Device, World},
    support::{TestServer, proxy::Proxy},
};

/// A change of what the server says, and what María sees of it.
type Cheat = (fn(&mut Value), &'static str);

/// Ana, who is honestly connected, and María, who is lied to.
struct Stage<'a> {
    world: World<'a>,
    proxy: Proxy,
    ana: Device,
    maria: UserId,
    conversation: ConversationId,
    chat: Chat,
}

impl<'a> Stage<'a> {
    /// The conversation is open on María's screen, and nobody has written.
    async fn quiet(server: &'a TestServer) -> Self {
        let world = World::new(server).await;
        let proxy = Proxy::start(server).await;
        let ana = world.ana().await;
        let profile = activate_at(&world, &proxy.url, Role::Doctor, "maria", (CLINICIAN, "LIC-2001")).await;
        let client = open(&profile).await;
        let maria = client.me().await.unwrap().user;
        client.shutdown().await.unwrap();
        let conversation = ana.client.start_conversation(maria, NewConversation::default()).await.unwrap().id;
        let mut chat = Chat::start(&profile);
        chat.shows("connected").await;
        chat.types("/open 1").await;
        chat.shows("───").await;
        Self { world, proxy, ana, maria, conversation, chat }
    }

    /// Both have written, and the server was honest so far.
    async fn set(server: &'a TestServer) -> Self {
        let mut stage = Self::quiet(server).await;
        stage.ana.connected().await;
        stage.says("buenos días").await;
        stage.chat.shows("buenos días").await;
        stage.chat.types("dígame").await;
        stage.chat.shows("you: dígame").await;
        assert_eq!(stage.ana.next_text().await, "dígame");
        stage
    }

    /// Ana writes.
    async fn says(&self, text: &str) {
        self.says_in(self.conversation, text).await;
    }

    async fn says_in(&self, conversation: ConversationId, text: &str) {
        let sent = self.ana.client.send_text(conversation, text).await.unwrap();
        assert!(sent.accepted().is_some(), "{sent:?}");
    }

    /// Another conversation of the two.
    async fn another(&self) -> ConversationId {
        let new = NewConversation { r#type: ConversationType::Consultation, ..Default::default() };
        self.ana.client.start_conversation(self.maria, new).await.unwrap().id
    }

    /// An event of the server's own invention.
    fn invents(&self, event: Value) {
        let mut event = Some(event);
        self.proxy.frames(move |frame| event.take().into_iter().chain([frame]).collect());
    }

    /// The server stays honest: nothing is said of what is good.
    async fn is_at_ease(&mut self, text: &str) {
        self.proxy.honest();
        self.says(text).await;
        self.chat.shows(text).await;
    }

    async fn end(mut self) {
        self.chat.quit().await;
        self.ana.end().await;
        drop(self.world);
    }
}

/// `sigilo chat` without a terminal: what it prints is what the person sees.
struct Chat {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    seen: Vec<String>,
}

impl Chat {
    fn start(profile: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sigilo"))
            .args(["chat", "--profile"])
            .arg(profile)
            .env("SIGILO_PASSPHRASE", PASSPHRASE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, stdin, lines, seen: Vec::new() }
    }

    async fn types(&mut self, line: &str) {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// Waits for a line with this in it; gives it.
    async fn shows(&mut self, wanted: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            match timeout_at(end, self.lines.next_line()).await {
                Ok(Ok(Some(line))) => {
                    self.seen.push(line.clone());
                    if line.contains(wanted) {
                        return line;
                    }
                }
                _ => panic!("no {wanted:?} on the screen:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// How often a line had this in it.
    fn count(&self, text: &str) -> usize {
        self.seen.iter().filter(|line| line.contains(text)).count()
    }

    async fn quit(&mut self) {
        self.types("/quit").await;
        while let Some(line) = self.lines.next_line().await.unwrap() {
            self.seen.push(line);
        }
        assert!(self.child.wait().await.unwrap().success());
    }
}

/// Makes the next message another one; what comes after it stays.
fn next_message(mut change: impl FnMut(&mut Value) + Send + 'static) -> impl FnMut(Value) -> Vec<Value> {
    let mut done = false;
    move |mut frame| {
        if !done && frame["type"] == "new_message" {
            done = true;
            change(&mut frame["data"]);
        }
        vec![frame]
    }
}

/// The newest two messages, in the place of the first and the second.
fn next_two(
    change: impl FnOnce(Value, Value) -> Vec<Value> + Send + 'static,
) -> impl FnMut(Value) -> Vec<Value> {
    let (mut held, mut change) = (None, Some(change));
    move |frame| {
        if frame["type"] != "new_message" || change.is_none() {
            return vec![frame];
        }
        match held.take() {
            None => {
                held = Some(frame);
                Vec::new()
            }
            Some(first) => change.take().unwrap()(first, frame),
        }
    }
}

/// Another byte in the middle of a binary value.
fn flip(value: &mut Value) {
    let mut bytes: Base64 = serde_json::from_value(value.take()).unwrap();
    let middle = bytes.0.len() / 2;
    bytes.0[middle] ^= 1;
    *value = json!(bytes);
}

fn swap(one: &mut Value, other: &mut Value, field: &str) {
    std::mem::swap(&mut one["data"][field], &mut other["data"][field]);
}
