//! How far an input may run ahead of the slowest (`watermark.max_drift`).
//!
//! Law: who stands where the slowest stands may always go on. It does not know which is the slowest: it is told.

use super::Watermark;

/// How far an input may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// What stands beyond this is paused.
    pub most: Watermark,
    /// What was paused goes on when it stands no further than this: half way back, lest it pause at every other batch.
    pub again: Watermark,
}

impl Ahead {
    /// At most `drift_us` microseconds ahead of the slowest, which stands at `slowest`.
    pub fn of(slowest: Watermark, drift_us: i64) -> Ahead {
        Ahead {
            most: slowest.plus_us(drift_us),
            again: slowest.plus_us(drift_us / 2),
        }
    }

    /// Whether an input that stands at `own` may go on, which was `paused` before or was not.
    pub fn admits(self, own: Watermark, paused: bool) -> bool {
        let most = if paused { self.again } else { self.most };
        own <= most || own == Watermark::END
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_input_goes_on_half_way_back_and_the_end_is_never_held() {
        let ahead = Ahead::of(Watermark(100), 10);
        for (own, paused, admitted) in [
            (110, false, true),
            (111, false, false),
            (106, true, false),
            (105, true, true),
        ] {
            assert_eq!(ahead.admits(Watermark(own), paused), admitted, "{own}");
        }
        assert!(ahead.admits(Watermark::END, true));
        let unspoken = Ahead::of(Watermark::NONE, 10);
        assert!(unspoken.admits(Watermark::NONE, false) && !unspoken.admits(Watermark(0), false));
    }
}
