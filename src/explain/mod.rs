//! Would somebody be allowed to do something at some time, and why?
//!
//! The answer is the one the act itself would get: the same facts are loaded by the act's own function, for a context
//! of that person and that instant, and the same rules decide on them; nothing is done. Clinic staff ask about anyone of
//! their clinic and see every fact; everybody asks about themselves and sees the facts that are theirs to know: nothing
//! of who blocked whom, who is suspended, or who else treats whom. What does not exist for the person does not exist
//! here. Each question is in the audit log.

mod act;
mod ask;
mod shown;

pub use act::{Named, Names};
pub use ask::{Explained, authorize, explain};
