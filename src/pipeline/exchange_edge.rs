//! One exchange edge as a shard sees it: its lanes to its peers, and what they have promised.
//!
//! Law: no watermark leaves a shard before the rows or partials it covers: all go through the same lane, in that order. Both
//! sides assert it, a block at a time: the first pane of its rows, or that of its partials, closes after what has been
//! promised. A shard that reads nothing is idle and holds nobody back. After `End` nothing follows from that shard.

use velostream_shards::{Inbox, Outbox, ShardId};

use crate::exchange::{Block, KeyedRows, Partials, split, split_partials};
use crate::plan::{ExchangeStrategy, WindowSpec};
use crate::time::{Coalescer, Watermark};
use crate::window::Spans;

/// What came in and concerns this shard.
pub enum Arrived {
    /// Rows whose keys this shard owns.
    Rows(KeyedRows),
    /// Groups whose keys this shard owns.
    Partials(Partials),
    /// The least watermark over all shards has advanced, released by a record due at `due_us`.
    Watermark {
        /// The new minimum.
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
    spans: Option<Spans>,
    /// `None` when there is only this shard.
    lanes: Option<Lanes>,
    /// One input for each shard, this one among them.
    watermarks: Coalescer,
    /// Shards from which something may still come, this one not counted.
    peers_open: usize,
    /// By shard, this one among them, the last epoch whose barrier has come; all of them from one that has ended.
    passed: Vec<u64>,
    sent: Watermark,
}

impl ExchangeEdge {
    /// The edge of `shard` among `shards`, for groups in `window`; `lanes` unless it is alone.
    pub fn new(
        shard: ShardId,
        shards: usize,
        strategy: ExchangeStrategy,
        window: Option<&WindowSpec>,
        lanes: Option<Lanes>,
    ) -> ExchangeEdge {
        assert_eq!(lanes.is_some(), shards > 1, "lanes lead to peers");
        ExchangeEdge {
            shard,
            shards,
            strategy,
            spans: window.map(Spans::of),
            lanes,
            watermarks: Coalescer::new(shards),
            peers_open: shards - 1,
            passed: vec![0; shards],
            sent: Watermark::NONE,
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
        if self.lanes.is_none() || self.strategy == ExchangeStrategy::Sticky {
            return Some(rows);
        }
        self.assert_uncovered(rows.least_pane(), self.sent);
        let shares = split(rows, self.shards, self.strategy);
        self.post_shares(shares, Block::Rows)
    }

    /// Sends `partials` to their owners and returns this shard's own share.
    pub fn send_partials(&mut self, partials: Partials) -> Option<Partials> {
        self.assert_uncovered(partials.pane, self.sent);
        let shares = split_partials(partials, self.shards, self.strategy);
        self.post_shares(shares, Block::Partials)
    }

    /// Promises `time` to every shard, this one included. Says so if the least watermark over all shards has advanced.
    pub fn send_watermark(&mut self, time: Watermark, due_us: i64) -> Option<Arrived> {
        if time <= self.sent {
            return None;
        }
        self.sent = time;
        self.post_to_peers(|| Block::Watermark { time, due_us });
        advanced(self.watermarks.advance(self.shard.index(), time, due_us))
    }

    /// Says that this shard reads nothing.
    pub fn send_idle(&mut self) -> Option<Arrived> {
        self.post_to_peers(|| Block::Idle);
        advanced(self.watermarks.idle(self.shard.index()))
    }

    /// The watermark starts at `watermark`, which an earlier run had come to.
    pub fn start_at(&mut self, watermark: Watermark) {
        self.watermarks.start_at(watermark);
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
                advanced(self.watermarks.advance(from.index(), time, due_us))
            }
            Block::Idle => advanced(self.watermarks.idle(from.index())),
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
        let closing = match (&self.spans, pane) {
            (Some(spans), Some(pane)) => spans.closing(pane),
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

fn advanced(minimum: Option<(Watermark, i64)>) -> Option<Arrived> {
    minimum.map(|(time, due_us)| Arrived::Watermark { time, due_us })
}
