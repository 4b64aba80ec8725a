//! Time and randomness as arguments, so that tests and simulations decide them.

use std::{
    cell::RefCell,
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rand_core::{CryptoRng, Rng as _, TryCryptoRng, TryRng, UnwrapErr};
use sigilo_wire::Timestamp;
use zeroize::Zeroizing;

/// Where a client takes the time and its randomness from.
pub struct Environment {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    rng: Box<dyn CryptoRng + Send>,
    haste: u32,
}

impl Environment {
    /// A clock and a cryptographically secure generator of the caller's.
    pub fn new(
        now: impl Fn() -> Timestamp + Send + Sync + 'static,
        rng: impl CryptoRng + Send + 'static,
    ) -> Self {
        Self { now: Arc::new(now), rng: Box::new(rng), haste: 1 }
    }

    /// Every pause before another attempt, and the wait for an answer on the socket, is this many times shorter: for
    /// tests and simulations, whose server is on the same machine and whose clocks are turned.
    #[must_use]
    pub fn hastened(self, times: u32) -> Self {
        Self { haste: times.max(1), ..self }
    }

    /// The generator, before the engine has it.
    pub(crate) fn rng(&mut self) -> &mut (dyn CryptoRng + Send) {
        &mut *self.rng
    }

    /// The machine's clock and the operating system's generator.
    #[must_use]
    pub fn system() -> Self {
        Self::new(system_now, UnwrapErr(getrandom::SysRng))
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::system()
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Environment")
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
fn system_now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

/// The environment inside the engine: one thread, many borrowers.
pub(crate) struct Env {
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    rng: RefCell<Box<dyn CryptoRng + Send>>,
    haste: u32,
}

impl Env {
    pub(crate) fn new(environment: Environment) -> Self {
        let Environment { now, rng, haste } = environment;
        Self { now, rng: RefCell::new(rng), haste }
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    /// The generator; borrowed for the length of each draw only.
    pub(crate) const fn rng(&self) -> Draw<'_> {
        Draw(self)
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng().fill_bytes(&mut bytes);
        bytes
    }

    pub(crate) fn secret<const N: usize>(&self) -> Zeroizing<[u8; N]> {
        let mut bytes = Zeroizing::new([0; N]);
        self.rng().fill_bytes(bytes.as_mut_slice());
        bytes
    }

    /// How long a wait of `base` is here.
    pub(crate) fn pause(&self, base: Duration) -> Duration {
        base / self.haste
    }

    /// [`Env::pause`], spread evenly over 100% to 150%: for a time before which it makes no sense.
    pub(crate) fn not_before(&self, base: Duration) -> Duration {
        self.jitter(base) + self.pause(base) / 4
    }

    /// [`Env::pause`], spread evenly over 75% to 125%, so that many clients do not come back in step.
    pub(crate) fn jitter(&self, base: Duration) -> Duration {
        let share = u32::from(u16::from_be_bytes(self.bytes()));
        self.pause(base).mul_f64(0.75 + f64::from(share) / f64::from(u16::MAX) / 2.0)
    }
}

/// Draws from an [`Env`]'s generator.
pub(crate) struct Draw<'a>(&'a Env);

impl TryRng for Draw<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.0.rng.borrow_mut().next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.0.rng.borrow_mut().next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.rng.borrow_mut().fill_bytes(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Draw<'_> {}

/// libsignal's and the standard library's form of an instant.
pub(crate) fn system_time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.micros()).unwrap_or(0))
}
