//! One exchange edge as a shard sees it: its lanes to its peers, what they have promised, and the watermark that comes of it.
//!
//! Law: no watermark leaves a shard before the rows or partials it covers: all go through the same lane, in that order. Both
//! sides assert it, a block at a time: the first pane of its rows, or that of its partials, closes after what has been
//! promised. A shard that reads nothing is idle and holds nobody back; before it sends rows again it promises again, which may
//! be less than before. After `End` nothing follows from that shard.
//!
//! When every shard is idle, the watermark runs on with the clock (`step`): here, where it is known that all are, and on each
//! shard for itself. Nothing of that crosses a lane, so the law above is not touched by it (docs/decisions/0022).

use velostream_shards::{Inbox, Outbox, ShardId};

use crate::exchange::{Block, KeyedRows, Partials, split, split_partials};
use crate::plan::ExchangeStrategy;
use crate::time::{Idle, QueryClock, Watermark};
use crate::window::PaneNumbers;

/// What came in and concerns this shard.
pub enum Arrived {
    /// Rows whose keys this shard owns.
    Rows(KeyedRows),
    /// Groups whose keys this shard owns.
    Partials(Partials),
    /// The query's watermark has advanced, released by a record due at `due_us`.
    Watermark {
        /// Where it stands.
        time: Watermark,
        /// Wall clock, microseconds since the epoch.
        due_us: i64,
    },
}

impl Arrived {
    /// Rows, or groups, in it.
    pub fn rows(&self) -> usize {
        match self {
            Arrived::Rows(rows) => rows.len(),
            Arrived::Partials(partials) => partials.len(),
            Arrived::Watermark { .. } => 0,
        }
    }
}

/// The lanes of one edge.
pub struct Lanes {
    /// Sending ends.
    pub outbox: Outbox<Block>,
    /// Receiving ends.
    pub inbox: Inbox<Block>,
}

/// One exchange edge on one shard.
pub struct ExchangeEdge {
    shard: ShardId,
    shards: usize,
    strategy: ExchangeStrategy,
    /// Where panes close; `None` without a window.
    numbers: Option<PaneNumbers>,
    /// `None` when there is only this shard.
    lanes: Option<Lanes>,
    /// One input for each shard, this one among them.
    watermarks: QueryClock,
    /// Shards from which something may still come, this one not counted.
    peers_open: usize,
    /// By shard, this one among them, the last epoch whose barrier has come; all of them from one that has ended.
    passed: Vec<u64>,
    /// What every shard was told last: a promise, and whether that this shard is idle.
    sent: Watermark,
    sent_idle: bool,
}

impl ExchangeEdge {
    /// The edge of `shard` among `shards`, for groups in panes of these `numbers`; `lanes` unless it is alone.
    pub fn new(
        shard: ShardId,
        shards: usize,
        strategy: ExchangeStrategy,
        numbers: Option<PaneNumbers>,
        lanes: Option<Lanes>,
    ) -> ExchangeEdge {
        assert_eq!(lanes.is_some(), shards > 1, "lanes lead to peers");
        ExchangeEdge {
            shard,
            shards,
            strategy,
            numbers,
            lanes,
            watermarks: QueryClock::new(shards),
            peers_open: shards - 1,
            passed: vec![0; shards],
            sent: Watermark::NONE,
            sent_idle: false,
        }
    }

    /// Whether more rows may be sent.
    pub fn has_room(&self) -> bool {
        self.lanes
            .as_ref()
            .is_none_or(|lanes| lanes.outbox.has_room())
    }

    /// Whether rows are sent by the hash of their key.
    pub fn splits_by_key(&self) -> bool {
        self.lanes.is_some() && self.strategy == ExchangeStrategy::Hash
    }

    /// How full the fullest lane is, 0 to 1, and how many blocks are held for want of room.
    pub fn fill_and_held(&self) -> (f64, usize) {
        self.lanes
            .as_ref()
            .map_or((0.0, 0), |lanes| (lanes.outbox.fill(), lanes.outbox.held()))
    }

    /// How many blocks lie in the lane to each peer, or are held for it.
    pub fn depths(&self) -> impl Iterator<Item = (ShardId, usize)> {
        let lanes = self.lanes.iter();
        lanes.flat_map(|lanes| lanes.outbox.depths())
    }

    /// Moves held blocks into the lanes; whether any moved.
    pub fn flush(&mut self) -> bool {
        self.lanes
            .as_mut()
            .is_some_and(|lanes| lanes.outbox.flush() > 0)
    }

    /// Sends `rows` to their owners and returns this shard's own share.
    pub fn send(&mut self, rows: KeyedRows) -> Option<KeyedRows> {
        assert!(!self.sent_idle, "who wakes promises before it sends");
        if self.lanes.is_none() || self.strategy == ExchangeStrategy::Sticky {
            return Some(rows);
        }
        self.assert_uncovered(rows.least_pane(), self.sent);
        let shares = split(rows, self.shards, self.strategy);
        self.post_shares(shares, Block::Rows)
    }

    /// Sends `partials` to their owners and returns this shard's own share.
    pub fn send_partials(&mut self, partials: Partials) -> Option<Partials> {
        assert!(!self.sent_idle, "who wakes promises before it sends");
        self.assert_uncovered(partials.pane, self.sent);
        let shares = split_partials(partials, self.shards, self.strategy);
        self.post_shares(shares, Block::Partials)
    }

    /// Promises `time` to every shard, this one included. Says so if the query's watermark has advanced.
    pub fn send_watermark(&mut self, time: Watermark, due_us: i64) -> Option<Arrived> {
        if time == self.sent && !self.sent_idle {
            return None;
        }
        (self.sent, self.sent_idle) = (time, false);
        self.post_to_peers(|| Block::Watermark { time, due_us });
        advanced(self.watermarks.promise(self.shard.index(), time, due_us))
    }

    /// Says to every shard that this one has nothing to say.
    pub fn send_idle(&mut self, idle: Idle) -> Option<Arrived> {
        if std::mem::replace(&mut self.sent_idle, true) {
            return None;
        }
        self.post_to_peers(|| Block::Idle(idle));
        advanced(self.watermarks.idle(self.shard.index(), idle))
    }

    /// It is `now_ns` on the monotonic clock, and `wall_us` on the wall clock, microseconds since the epoch. Says so if that has
    /// moved the query's watermark: what comes of it was due now.
    pub fn step(&mut self, now_ns: u64, wall_us: i64) -> Option<Arrived> {
        advanced(self.watermarks.step(now_ns).map(|time| (time, wall_us)))
    }

    /// The query's watermark on this shard, and the clock that may move it.
    pub fn watermarks(&self) -> &QueryClock {
        &self.watermarks
    }

    /// The watermark starts at `watermark`, which an earlier run had come to.
    pub fn start_at(&mut self, watermark: Watermark) {
        self.watermarks.start_at(watermark);
        if let Some(numbers) = &mut self.numbers {
            numbers.start_at(watermark);
        }
    }

    /// Says that what this shard read before the cut of `epoch` has been sent, but for what a first phase holds back.
    pub fn send_barrier(&mut self, epoch: u64) {
        let here = self.shard.index();
        assert!(self.passed[here] < epoch, "epochs go on");
        self.passed[here] = epoch;
        self.post_to_peers(|| Block::Barrier { epoch });
    }

    /// The last epoch whose barriers have come from every shard; `u64::MAX` once all have ended.
    pub fn passed(&self) -> u64 {
        self.passed.iter().copied().min().unwrap_or(u64::MAX)
    }

    /// Says that nothing follows from this shard.
    pub fn send_end(&mut self) {
        self.passed[self.shard.index()] = u64::MAX;
        self.post_to_peers(|| Block::End);
    }

    /// Takes the next block; `None` when the lanes are empty. The inner `None` is a block that changed nothing here.
    pub fn take(&mut self) -> Option<Option<Arrived>> {
        let (from, block) = self.lanes.as_mut()?.inbox.take()?;
        let promised = self.watermarks.promised(from.index());
        Some(match block {
            Block::Rows(rows) => {
                self.assert_uncovered(rows.least_pane(), promised);
                Some(Arrived::Rows(rows))
            }
            Block::Partials(partials) => {
                self.assert_uncovered(partials.pane, promised);
                Some(Arrived::Partials(partials))
            }
            Block::Watermark { time, due_us } => {
                advanced(self.watermarks.promise(from.index(), time, due_us))
            }
            Block::Idle(idle) => advanced(self.watermarks.idle(from.index(), idle)),
            Block::Barrier { epoch } => {
                assert!(self.passed[from.index()] < epoch, "epochs go on");
                self.passed[from.index()] = epoch;
                None
            }
            Block::End => {
                self.passed[from.index()] = u64::MAX;
                assert!(self.peers_open > 0, "a shard ends once");
                self.peers_open -= 1;
                None
            }
        })
    }

    /// Whether nothing can come in any more and nothing is held.
    pub fn is_finished(&self) -> bool {
        self.peers_open == 0
            && self
                .lanes
                .as_ref()
                .is_none_or(|lanes| lanes.outbox.has_room())
    }

    /// The law: a block whose first pane is `pane` comes before a promise that covers it.
    fn assert_uncovered(&self, pane: Option<i64>, promised: Watermark) {
        let closing = match (&self.numbers, pane) {
            (Some(numbers), Some(pane)) => numbers.closing(pane),
            _ => Watermark::END,
        };
        assert!(
            promised < closing,
            "no watermark leaves a shard before the rows or partials it covers"
        );
    }

    /// Posts each share to its owner, this shard's own excepted, which is returned.
    fn post_shares<T>(&mut self, shares: Vec<Option<T>>, block: impl Fn(T) -> Block) -> Option<T> {
        let lanes = self.lanes.as_mut().expect("shares are of several shards");
        let mut own = None;
        for (owner, share) in shares.into_iter().enumerate() {
            let Some(share) = share else { continue };
            if owner == self.shard.index() {
                own = Some(share);
            } else {
                lanes.outbox.post(ShardId::from_index(owner), block(share));
            }
        }
        own
    }

    fn post_to_peers(&mut self, block: impl Fn() -> Block) {
        let Some(lanes) = &mut self.lanes else { return };
        for peer in lanes.outbox.peers() {
            lanes.outbox.post(peer, block());
        }
    }
}

fn advanced(moved: Option<(Watermark, i64)>) -> Option<Arrived> {
    moved.map(|(time, due_us)| Arrived::Watermark { time, due_us })
}
