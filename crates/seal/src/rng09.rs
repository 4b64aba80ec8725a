//! libsignal asks for the traits of `rand` 0.9, everything else here for those of `rand_core` 0.10.

use rand_core::CryptoRng;
use rand09::RngCore;

/// A `rand_core` 0.10 rng as `rand` 0.9 sees it.
#[derive(Debug)]
pub struct Rng09<'a, R: ?Sized>(pub &'a mut R);

impl<R: CryptoRng + ?Sized> RngCore for Rng09<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, destination: &mut [u8]) {
        self.0.fill_bytes(destination);
    }
}

impl<R: CryptoRng + ?Sized> rand09::CryptoRng for Rng09<'_, R> {}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha20Rng;
    use rand_core::{Rng as _, SeedableRng as _};

    use super::*;

    #[test]
    fn both_views_draw_the_same_bytes() {
        let mut direct = ChaCha20Rng::from_seed([1; 32]);
        let mut adapted = ChaCha20Rng::from_seed([1; 32]);
        let mut view = Rng09(&mut adapted);
        let (mut expected, mut drawn) = ([0; 37], [0; 37]);
        direct.fill_bytes(&mut expected);
        view.fill_bytes(&mut drawn);
        assert_eq!(expected, drawn);
        assert_eq!(direct.next_u32(), view.next_u32());
        assert_eq!(direct.next_u64(), view.next_u64());
    }
}
