//! What the index finds, and what it forgets.

use std::time::{Duration, Instant};

use sigilo_seal::{ContentBody, content};

use super::*;
use crate::testing::{NOW, World};

async fn hits(world: &World, query: SearchQuery) -> Vec<SearchHit> {
    while world.maria.engine.fill_index().await.unwrap() {}
    let results = world.maria.engine.search(&query).await.unwrap();
    assert!(results.complete);
    results.hits
}

/// The texts María finds, newest first.
async fn found(world: &World, text: &str) -> Vec<String> {
    let query = SearchQuery { text: text.to_owned(), ..SearchQuery::default() };
    hits(world, query).await.iter().map(|hit| hit.message.text().unwrap().to_owned()).collect()
}

async fn terms(world: &World) -> Vec<String> {
    let open = world.maria.engine.index().unwrap();
    open.index.terms().await
}

#[tokio::test]
async fn words_are_found_by_stem_and_beginning_and_by_filters() {
    let mut world = World::new().await;
    for (from_ana, text) in [
        (true, "Me duele la cabeza desde ayer"),
        (false, "¿Toma usted la MEDICACIÓN?"),
        (true, "Sí, las dos medicaciones, y el año pasado también"),
        (true, "I had two headaches this week"),
    ] {
        let event = world.write(from_ana, text).await;
        world.maria.engine.receive(event).await.unwrap();
        world.advance(Duration::from_secs(60));
    }
    assert_eq!(found(&world, "medicacion").await.len(), 2);
    assert_eq!(
        found(&world, "medicaciones dos").await,
        ["Sí, las dos medicaciones, y el año pasado también"]
    );
    assert_eq!(found(&world, "headache").await.len(), 1);
    assert_eq!(
        found(&world, "cabe").await,
        ["Me duele la cabeza desde ayer"],
        "the last word may be unfinished"
    );
    assert!(found(&world, "cabe duele").await.is_empty(), "the others not");
    assert_eq!(found(&world, "cabe* duele").await.len(), 1);
    assert!(found(&world, "ano").await.is_empty(), "ñ is a letter");
    assert!(found(&world, "cabeza medicación").await.is_empty(), "every word must be there");
    let by_maria = SearchQuery {
        text: "la".into(),
        sender: Some(world.maria.user),
        conversation: Some(world.conversation),
        ..SearchQuery::default()
    };
    let own = hits(&world, by_maria.clone()).await;
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].snippet, "¿Toma usted la MEDICACIÓN?");
    let words: Vec<&str> = own[0].matches.iter().map(|at| own[0].snippet.get(at.clone()).unwrap()).collect();
    assert_eq!(words, ["la"]);
    let elsewhere =
        SearchQuery { conversation: Some(ConversationId::from_bytes([1; 16])), ..by_maria.clone() };
    assert!(hits(&world, elsewhere).await.is_empty());
    // The server of the tests gives every message one official time.
    for (from, to, expected) in [(Some(NOW), None, 1), (None, Some(NOW), 0)] {
        assert_eq!(hits(&world, SearchQuery { from, to, ..by_maria.clone() }).await.len(), expected);
    }
    let nothing = world.maria.engine.search(&SearchQuery::default()).await;
    assert!(matches!(nothing, Err(Error::Content(_))));
}

#[tokio::test]
async fn the_index_keeps_up_and_forgets_at_once() {
    let mut world = World::new().await;
    let first = world.write(true, "una frase antigua").await;
    world.maria.engine.receive(first.clone()).await.unwrap();
    assert_eq!(found(&world, "frase").await.len(), 1);
    let second = world.write(true, "otra frase nueva").await;
    world.maria.engine.receive(second.clone()).await.unwrap();
    assert_eq!(found(&world, "frase").await, ["otra frase nueva", "una frase antigua"]);
    world.write(false, "mi propia frase").await;
    assert_eq!(found(&world, "frase").await.len(), 3, "also what this device sends");

    let edit = ContentBody::Edit(content::Edit { text: "una oración corregida".into() });
    let edit = world.write_about(true, edit, &first).await;
    world.maria.engine.receive(edit).await.unwrap();
    assert!(found(&world, "antigua").await.is_empty());
    assert_eq!(found(&world, "oraciones").await, ["una oración corregida"]);
    let delete = world.write_about(true, ContentBody::Delete, &first).await;
    world.maria.engine.receive(delete).await.unwrap();
    assert!(found(&world, "oracion").await.is_empty());
    for gone in ["antigua", "corregida"] {
        assert!(!terms(&world).await.iter().any(|term| term == gone), "{gone}");
    }

    let fleeting = world.write_expiring(true, "efímero", 60).await;
    world.maria.engine.receive(fleeting).await.unwrap();
    assert_eq!(found(&world, "efimero").await.len(), 1);
    world.advance(Duration::from_secs(61));
    world.maria.engine.upkeep().await.unwrap();
    assert!(found(&world, "efimero").await.is_empty());
    assert!(!terms(&world).await.iter().any(|term| term == "efimero"));
}

#[tokio::test]
async fn what_was_revised_before_the_first_search_is_found_as_it_is_now() {
    let mut world = World::new().await;
    let (first, second) = (world.write(true, "antes uno").await, world.write(true, "antes dos").await);
    let edit = ContentBody::Edit(content::Edit { text: "después".into() });
    let edit = world.write_about(true, edit, &first).await;
    let delete = world.write_about(true, ContentBody::Delete, &second).await;
    for event in [first, second, edit, delete] {
        world.maria.engine.receive(event).await.unwrap();
    }
    assert!(found(&world, "antes").await.is_empty());
    assert_eq!(found(&world, "despues").await, ["después"]);
}

#[tokio::test]
async fn a_full_index_keeps_the_newest() {
    let index = Index::open(2).await.unwrap();
    let entry = |number: u8, at: i64| Entry {
        key: vec![number],
        conversation: ConversationId::from_bytes([7; 16]),
        sender: UserId::from_bytes([1; 16]),
        at: Timestamp::from_micros(at),
        terms: words::terms("palabra"),
    };
    assert!(index.fill(&[entry(1, 10)]).await.unwrap());
    assert!(!index.fill(&[entry(2, 5), entry(3, 1)]).await.unwrap(), "the third has no room");
    index.put(&entry(4, 20)).await.unwrap();
    assert!(index.has_evicted());
    let query = Query::of("palabras").unwrap();
    assert_eq!(index.find(&query, &SearchQuery::default()).await.unwrap(), [vec![4], vec![1]]);
}

/// With `SIGILO_LONG_TESTS=1` 100,000 messages go into the index, otherwise 2,000.
#[tokio::test]
async fn many_messages_are_indexed_and_found_in_reasonable_time_and_memory() {
    let long = std::env::var_os("SIGILO_LONG_TESTS").is_some_and(|set| set == "1");
    let many: u64 = if long { 100_000 } else { 2_000 };
    let common = [
        "dolor",
        "cabeza",
        "medicación",
        "presión",
        "mañana",
        "doctora",
        "gracias",
        "tomar",
        "dosis",
        "ayer",
    ];
    let index = Index::open(MAX_INDEXED).await.unwrap();
    let begun = Instant::now();
    for chunk in (0..many).collect::<Vec<_>>().chunks(usize::try_from(FILLED_AT_ONCE).unwrap()) {
        let entry = |number: &u64| {
            let mut text = format!("único{number}");
            // Some two hundred letters, as a message of a consultation has.
            for word in 0..24 {
                let place = usize::try_from((number * 7 + word * 13) % 10).unwrap();
                text.push_str(&format!(" {} {}", common[place], (number * 31 + word) % 997));
            }
            Entry {
                key: number.to_be_bytes().to_vec(),
                conversation: ConversationId::from_bytes([7; 16]),
                sender: UserId::from_bytes([1; 16]),
                at: Timestamp::from_micros(i64::try_from(*number).unwrap()),
                terms: words::terms(&text),
            }
        };
        assert!(index.fill(&chunk.iter().map(entry).collect::<Vec<_>>()).await.unwrap());
    }
    let filled = begun.elapsed();
    let mut times = Vec::new();
    for (text, least) in [("unico77", 1), ("medicaciones", 20), ("dolor presion tomar", 1), ("unico1*", 20)] {
        let begun = Instant::now();
        let found = index.find(&Query::of(text).unwrap(), &SearchQuery::default()).await.unwrap();
        times.push(format!("«{text}» {:?}", begun.elapsed()));
        assert!(found.len() >= least, "{text}: {}", found.len());
    }
    let size = index.size().await;
    println!("{many} messages indexed in {filled:?}, {} KiB; {}", size / 1024, times.join(", "));
    assert!(size < i64::try_from(many).unwrap() * 1_500 + 1_000_000, "{size} bytes");
}
