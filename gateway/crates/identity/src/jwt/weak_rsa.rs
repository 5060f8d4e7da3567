//! RSA keys whose private half can be computed from the public one.

/// Small primes that tell: modulo each of these, the powers of [`GENERATOR`] are a part of all numbers only.
const PRIMES: [u32; 17] = [
    11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157,
];
/// What the faulty library built its primes of.
const GENERATOR: u32 = 65_537;

/// True for a modulus of the library that CVE-2017-15361 ("ROCA") is about: both of its primes are, modulo every small
/// prime, a power of 65537, and so is their product. One in two hundred million other moduli looks the same.
pub(super) fn is_factorable(modulus: &[u8]) -> bool {
    PRIMES
        .iter()
        .all(|prime| is_power(GENERATOR % prime, remainder(modulus, *prime), *prime))
}

fn remainder(number: &[u8], prime: u32) -> u32 {
    number
        .iter()
        .fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

fn is_power(generator: u32, number: u32, prime: u32) -> bool {
    let mut power = 1;
    loop {
        if power == number {
            return true;
        }
        power = power * generator % prime;
        if power == 1 {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A product of powers of the generator, as far as the small primes see: 65537 and its square.
    #[test]
    fn powers_of_the_generator_are_found() {
        assert!(is_factorable(&GENERATOR.to_be_bytes()));
        assert!(is_factorable(
            &(u64::from(GENERATOR) * u64::from(GENERATOR)).to_be_bytes()
        ));
        assert!(is_factorable(&[0, 0, 1]));
    }

    #[test]
    fn other_numbers_are_not() {
        for number in [0_u32, 2, 3, 65_539, 4_294_967_291] {
            assert!(!is_factorable(&number.to_be_bytes()), "{number}");
        }
        // A multiple of one of the small primes is no power modulo that prime.
        let multiple = u64::from(GENERATOR) * 157;
        assert!(!is_factorable(&multiple.to_be_bytes()));
    }

    #[test]
    fn every_prime_counts() {
        for prime in PRIMES {
            let powers = (0..prime).filter(|number| is_power(GENERATOR % prime, *number, prime));
            let count = powers.count();
            assert!(count > 1 && count < prime as usize - 1, "{prime} tells nothing");
        }
    }
}
