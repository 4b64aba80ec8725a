//! People as a clinic's appointments know them: imported, then invited by what the other system calls them.

use sigilo::{
    Ctx,
    paging::Paging,
    people::Invitee,
    relationships::{self, ImportReport, RelationshipFilter},
};
use sigilo_wire::{Role, account::DeviceKind, care::Relationship};

use super::{
    TestServer,
    clinic::{self, Clinic, Person},
};

/// Two patients and two clinicians. Ana has an appointment with María and none with Jorge; Luis had one with
/// María that was cancelled, and has one with Jorge.
pub const APPOINTMENTS: &str = "\
appointment_id,status,patient_id,patient_name,clinician_id,clinician_name,clinician_speciality
A-1,booked,P-ana,Ana López,D-maria,Dra. María Martínez,Cardiología
A-2,cancelled,P-luis,Luis Pérez,D-maria,Dra. María Martínez,Cardiología
A-3,fulfilled,P-luis,Luis Pérez,D-jorge,Dr. Jorge Ramírez,
";

/// Those people, each with an account and a messaging device without keys.
pub struct Cast {
    pub clinic: Clinic,
    pub ana: Person,
    pub luis: Person,
    pub maria: Person,
    pub jorge: Person,
}

impl Cast {
    /// Imports and invites them into a new clinic.
    pub async fn create(server: &TestServer, slug: &str) -> Self {
        let clinic = Clinic::create(server, slug).await;
        import(server, &clinic, APPOINTMENTS).await;
        let join = async |role, system: &str, value: &str| {
            let identifier = Some((format!("urn:sigilo:{system}"), value.to_owned()));
            let email = format!("{value}@{slug}.example").to_lowercase();
            join(server, &clinic, role, &email, identifier).await
        };
        Self {
            ana: join(Role::Patient, "patient", "P-ana").await,
            luis: join(Role::Patient, "patient", "P-luis").await,
            maria: join(Role::Doctor, "clinician", "D-maria").await,
            jorge: join(Role::Doctor, "clinician", "D-jorge").await,
            clinic,
        }
    }
}

/// Invites and activates an imported person.
pub async fn join(
    server: &TestServer,
    clinic: &Clinic,
    role: Role,
    email: &str,
    identifier: Option<(String, String)>,
) -> Person {
    let invitee = Invitee { role, name: None, email: email.to_owned(), identifier };
    let invitation = clinic::invite(server, clinic.id, &invitee, &clinic.ceremony.card).await.unwrap();
    let answer = clinic.activate(server, &invitation.code, DeviceKind::Messaging).await;
    Person { email: email.to_owned(), tokens: serde_json::from_value(answer.expect(200)).unwrap() }
}

/// Imports a file as the operator would.
pub async fn import(server: &TestServer, clinic: &Clinic, file: &str) -> ImportReport {
    let ctx = Ctx::operator(&server.app, clinic.id);
    let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
    let records = relationships::read(file.as_bytes()).unwrap();
    relationships::import(&server.app, &ctx, grant, records).await.unwrap()
}

/// The clinic's relationships.
pub async fn relationships_of(server: &TestServer, clinic: &Clinic) -> Vec<Relationship> {
    let ctx = Ctx::operator(&server.app, clinic.id);
    let mut filter = RelationshipFilter { paging: Paging::of(100), ..RelationshipFilter::default() };
    let mut all = Vec::new();
    loop {
        let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
        let page = relationships::list(&server.app, &ctx, grant, &filter).await.unwrap();
        assert_eq!(page.has_more, page.next_cursor.is_some());
        all.extend(page.results);
        filter.paging.cursor = page.next_cursor;
        if filter.paging.cursor.is_none() {
            return all;
        }
    }
}

/// Revokes whatever stands between two people.
pub async fn revoke_between(server: &TestServer, clinic: &Clinic, patient: &Person, clinician: &Person) {
    let standing = relationships_of(server, clinic).await.into_iter().find(|relationship| {
        relationship.patient_id == patient.tokens.user_id
            && relationship.clinician_id == clinician.tokens.user_id
            && relationship.revoked_at.is_none()
    });
    let ctx = Ctx::operator(&server.app, clinic.id);
    let grant = relationships::authorize_manage_relationships(&server.app, &ctx).unwrap();
    let id = standing.expect("they are related").id;
    relationships::revoke(&server.app, &ctx, grant, id).await.unwrap();
}
