//! One question to the rules, and its translation to Cedar.

use std::{collections::HashSet, net::IpAddr};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression, Schema,
};
use sigilo_wire::{
    ConversationId, TenantId,
    conversation::{ConversationStatus, ConversationType},
};

use super::Person;
use crate::{Error, Result};

/// May this one do this to that?
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub principal: Subject,
    /// The act's name.
    pub action: &'a str,
    /// To what.
    pub resource: Object,
    /// What else is known.
    pub context: Vec<(&'a str, Fact<'a>)>,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub enum Subject {
    /// A person.
    User(Person),
    /// The command line beside the database.
    Operator,
}

/// What it is about.
#[derive(Clone, Copy, Debug)]
pub enum Object {
    /// A person.
    User(Person),
    /// A conversation.
    Conversation {
        /// Which.
        id: ConversationId,
        /// The clinic it is in.
        tenant: TenantId,
        /// Its type.
        kind: ConversationType,
        /// Whether it takes new messages.
        status: ConversationStatus,
    },
    /// A clinic.
    Clinic(TenantId),
}

/// A value of the context.
#[derive(Clone, Debug)]
pub enum Fact<'a> {
    /// Yes or no.
    Bool(bool),
    /// How many.
    Long(i64),
    /// A word.
    Text(&'a str),
    /// A network address.
    Ip(IpAddr),
    /// Several.
    Record(Vec<(&'a str, Fact<'a>)>),
}

/// Names that do not change, parsed once.
#[derive(Debug)]
pub(super) struct Names {
    user: EntityTypeName,
    conversation: EntityTypeName,
    clinic: EntityTypeName,
    action: EntityTypeName,
    operator: EntityUid,
}

impl Names {
    pub(super) fn new() -> Result<Self> {
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(Error::internal);
        let (action, operator) = (name("Action")?, name("Operator")?);
        Ok(Self {
            user: name("User")?,
            conversation: name("Conversation")?,
            clinic: name("Clinic")?,
            action,
            operator: EntityUid::from_type_name_and_id(operator, EntityId::new("operator")),
        })
    }

    pub(super) fn action(&self, act: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(act))
    }

    fn clinic(&self, tenant: TenantId) -> EntityUid {
        EntityUid::from_type_name_and_id(self.clinic.clone(), EntityId::new(tenant.to_string()))
    }

    fn user(&self, person: &Person) -> Result<Entity> {
        let attributes = [
            ("clinic".to_owned(), RestrictedExpression::new_entity_uid(self.clinic(person.tenant))),
            ("role".to_owned(), text(person.role.as_str())),
            ("active".to_owned(), RestrictedExpression::new_bool(person.active)),
        ];
        let uid = EntityUid::from_type_name_and_id(self.user.clone(), EntityId::new(person.id.to_string()));
        entity(uid, attributes)
    }

    fn resource(&self, object: &Object) -> Result<Entity> {
        match object {
            Object::User(person) => self.user(person),
            Object::Conversation { id, tenant, kind, status } => {
                let attributes = [
                    ("clinic".to_owned(), RestrictedExpression::new_entity_uid(self.clinic(*tenant))),
                    ("kind".to_owned(), text(kind.as_str())),
                    ("status".to_owned(), text(status.as_str())),
                ];
                let id = EntityId::new(id.to_string());
                entity(EntityUid::from_type_name_and_id(self.conversation.clone(), id), attributes)
            }
            Object::Clinic(tenant) => Ok(Entity::with_uid(self.clinic(*tenant))),
        }
    }
}

fn text(word: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(word.to_owned())
}

fn entity(
    uid: EntityUid,
    attributes: impl IntoIterator<Item = (String, RestrictedExpression)>,
) -> Result<Entity> {
    Entity::new(uid, attributes.into_iter().collect(), HashSet::new()).map_err(Error::internal)
}

impl Fact<'_> {
    fn expression(&self) -> Result<RestrictedExpression> {
        Ok(match self {
            Self::Bool(value) => RestrictedExpression::new_bool(*value),
            Self::Long(value) => RestrictedExpression::new_long(*value),
            Self::Text(value) => text(value),
            Self::Ip(address) => RestrictedExpression::new_ip(address.to_string()),
            Self::Record(fields) => {
                RestrictedExpression::new_record(expressions(fields)?).map_err(Error::internal)?
            }
        })
    }
}

fn expressions(facts: &[(&str, Fact<'_>)]) -> Result<Vec<(String, RestrictedExpression)>> {
    facts.iter().map(|(name, fact)| Ok(((*name).to_owned(), fact.expression()?))).collect()
}

impl Question<'_> {
    /// The request for `action` and the entities it speaks of, checked against `schema` when one is given.
    pub(super) fn to_cedar(
        &self,
        names: &Names,
        action: &EntityUid,
        schema: Option<&Schema>,
    ) -> Result<(Request, Entities)> {
        let principal = match &self.principal {
            Subject::User(person) => names.user(person)?,
            Subject::Operator => Entity::with_uid(names.operator.clone()),
        };
        let resource = names.resource(&self.resource)?;
        let context = Context::from_pairs(expressions(&self.context)?).map_err(Error::internal)?;
        let request = Request::new(principal.uid(), action.clone(), resource.uid(), context, schema)
            .map_err(Error::internal)?;
        // A person asking about themselves is one entity: what the caller's side says of them stands.
        let same = principal.uid() == resource.uid();
        let both = std::iter::once(principal).chain((!same).then_some(resource));
        let entities = Entities::from_entities(both, schema).map_err(Error::internal)?;
        Ok((request, entities))
    }
}
