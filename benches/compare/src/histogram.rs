//! Times in buckets, each 1/16 wider than what it begins with.

use std::time::Duration;

/// Below 16 ns a bucket for each; then 16 for each power of two.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, nanos: u64) {
        let bucket = bucket(nanos);
        if bucket >= self.counts.len() {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The time that this share of all is not above, in ms.
    pub(crate) fn millis(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_nanos(highest(bucket)).as_secs_f64() * 1e3;
            }
        }
        f64::NAN
    }
}

fn bucket(nanos: u64) -> usize {
    let exponent = (nanos | 1).ilog2().saturating_sub(4);
    exponent as usize * 16 + (nanos >> exponent) as usize
}

fn highest(bucket: usize) -> u64 {
    if bucket < 32 {
        return bucket as u64;
    }
    let exponent = bucket / 16 - 1;
    let first = (16 + bucket % 16) as u64;
    ((first + 1) << exponent) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_falls_into_it() {
        for nanos in (0..100_000).chain((0..60).map(|bit| 1 << bit)) {
            let bucket = bucket(nanos);
            assert!(nanos <= highest(bucket), "{nanos}");
            assert!(highest(bucket) - nanos <= nanos / 16, "{nanos}");
            if bucket > 0 {
                assert!(highest(bucket - 1) < nanos, "{nanos}");
            }
        }
    }

    #[test]
    fn quantiles_are_of_all() {
        let mut times = Histogram::default();
        assert!(times.millis(0.5).is_nan());
        for millis in 1..=100 {
            times.add(millis * 1_000_000);
        }
        for (share, millis) in [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let told = times.millis(share);
            assert!(millis <= told && told <= millis * 17.0 / 16.0, "{told}");
        }
    }
}
