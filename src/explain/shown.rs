//! Which of the facts are whose to see.

use serde_json::{Map, Value, json};
use sigilo_wire::Role;

use crate::policy::{Fact, Object, Question, Subject};

/// Facts a person may see about their own acts. Everything else says something about others.
const OWN: [&str; 16] = [
    "role",
    "device",
    "kind",
    "conversation.type",
    "conversation.status",
    "member",
    "moderator",
    "can_leave",
    "took_part",
    "open",
    "shares_conversation",
    "may_start",
    "signed_release",
    "related",
    "people.count",
    "people.related",
];

/// Clinic staff see who is related to whom, who is suspended and who has blocked whom elsewhere, too.
pub(super) const fn sees_all(role: Role) -> bool {
    matches!(role, Role::Admin)
}

/// The facts of a question by name, those within a record with its name before theirs.
pub(super) fn facts(question: &Question<'_>, own: bool) -> Map<String, Value> {
    let mut all = Map::new();
    if let Subject::User(person) = question.principal {
        all.insert("role".to_owned(), json!(person.role));
        all.insert("active".to_owned(), json!(person.active));
    }
    match question.resource {
        Object::User(person) => {
            all.insert("target.role".to_owned(), json!(person.role));
            all.insert("target.active".to_owned(), json!(person.active));
        }
        Object::Conversation { kind, status, .. } => {
            all.insert("conversation.type".to_owned(), json!(kind));
            all.insert("conversation.status".to_owned(), json!(status));
        }
        Object::Clinic(_) => {}
    }
    add(&mut all, "", &question.context);
    if own {
        // Of more than two, care may be what somebody else lacks.
        let of_two = all.get("people.count").is_none_or(|count| *count == json!(2));
        all.retain(|name, _| OWN.contains(&name.as_str()) && (of_two || name != "people.related"));
    }
    all
}

fn add(all: &mut Map<String, Value>, before: &str, facts: &[(&str, Fact<'_>)]) {
    for (name, fact) in facts {
        let name = format!("{before}{name}");
        let value = match fact {
            Fact::Bool(value) => json!(value),
            Fact::Long(value) => json!(value),
            Fact::Text(text) => json!(text),
            Fact::Ip(address) => json!(address),
            Fact::Record(fields) => {
                add(all, &format!("{name}."), fields);
                continue;
            }
        };
        all.insert(name, value);
    }
}
