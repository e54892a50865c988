//! Key -> key group -> shard: the one place where it is decided which shard owns a key.
//!
//! Law: a key's group depends on its hash alone, and a group's owner on the group and the number of shards alone. A shard
//! owns a contiguous range of groups, and no two shards' shares differ by more than one group. The key group is the unit
//! in which state moves: another number of shards changes owners, never groups.

/// Number of key groups, whatever the number of shards.
pub const KEY_GROUPS: usize = 1 << KEY_GROUP_BITS;

/// The shard that gets everything when the exchange is a fan-in.
pub const FAN_IN_OWNER: usize = 0;

const KEY_GROUP_BITS: u32 = 10;

/// Which bits of the hash name the group. Any would do, as no table goes by this hash (`group/slots.rs` has one of its own, under a
/// seed); but state lives by them, so they stay what they are.
const FIRST_BIT: u32 = 40;

const _: () = {
    assert!(KEY_GROUPS <= u16::MAX as usize + 1, "a key group is a u16");
    assert!(
        FIRST_BIT + KEY_GROUP_BITS <= u64::BITS,
        "the hash has these bits"
    );
};

/// A fixed bucket of keys, below `KEY_GROUPS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct KeyGroup(pub u16);

/// The group of a key with this stable hash.
#[inline]
pub fn key_group(hash: u64) -> KeyGroup {
    KeyGroup(((hash >> FIRST_BIT) as usize & (KEY_GROUPS - 1)) as u16)
}

/// The index of the shard that owns `group` when there are `shards` shards.
#[inline]
pub fn owner(group: KeyGroup, shards: usize) -> usize {
    debug_assert!(
        (1..=KEY_GROUPS).contains(&shards),
        "between one shard and one a key group"
    );
    debug_assert!(
        (group.0 as usize) < KEY_GROUPS,
        "a key group is below KEY_GROUPS"
    );
    group.0 as usize * shards / KEY_GROUPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_owns_a_contiguous_range_and_its_share() {
        for shards in [1, 2, 3, 7, 8, 64, 1000, KEY_GROUPS] {
            let owners: Vec<usize> = (0..KEY_GROUPS as u16)
                .map(|group| owner(KeyGroup(group), shards))
                .collect();
            assert!(owners.is_sorted(), "contiguous at {shards} shards");
            for shard in 0..shards {
                let share = owners.iter().filter(|&&owner| owner == shard).count();
                let least = KEY_GROUPS / shards;
                assert!(
                    share == least || share == least + 1,
                    "{share} groups of {KEY_GROUPS} at {shards} shards"
                );
            }
            assert_eq!(owners[KEY_GROUPS - 1], shards - 1);
        }
    }

    #[test]
    fn a_group_is_ten_bits_of_the_hash_from_the_fortieth() {
        assert_eq!(key_group(0), KeyGroup(0));
        assert_eq!(key_group(u64::MAX), KeyGroup(1023));
        assert_eq!(key_group(1 << 40), KeyGroup(1));
        assert_eq!(key_group((1 << 40) - 1), KeyGroup(0));
        assert_eq!(key_group(1 << 50), KeyGroup(0));
    }

    #[test]
    fn keys_stay_where_they_have_always_been() {
        let groups: Vec<u16> = [&b""[..], b"EWR", b"JFK", b"LGA"]
            .iter()
            .map(|key| key_group(xxhash_rust::xxh3::xxh3_64(key)).0)
            .collect();
        assert_eq!(groups, GOLDEN);
    }

    /// A change here moves state: see `exchange/key.rs`.
    const GOLDEN: [u16; 4] = [640, 901, 840, 231];
}
