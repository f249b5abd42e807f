//! The tree against its definition, against power cuts, and at its edges.

use meterseal_seal::log::{
    Leaves, consistency_proof, inclusion_proof, proof, verify_consistency, verify_inclusion,
};

use super::*;
use crate::flash::chip::RamFlash;
use crate::flash::{Layout, RegionName};

const LOG: LogId = LogId([7; 16]);

fn region(sectors: u32) -> Region {
    Region { name: RegionName::Tree, first_sector: 0, sectors }
}

fn flash(sectors: u32) -> RamFlash {
    RamFlash::new((sectors * SECTOR_BYTES) as usize)
}

fn leaf(index: u64) -> LogHash {
    LogHash::of_leaf(&index.to_le_bytes())
}

fn append(
    tree: &mut Tree,
    flash: &mut RamFlash,
) -> Result<u64, StorageError<<RamFlash as embedded_storage::nor_flash::ErrorType>::Error>> {
    let row = tree.rows().of(LeafKind::Event) + 1;
    tree.append(flash, LeafKind::Event, row, leaf)
}

#[test]
fn a_tree_has_the_root_of_its_leaves_and_is_found_again() {
    let mut flash = flash(4);
    let mut tree = Tree::open(&mut flash, region(4), LOG).unwrap();
    let mut hashes = Vec::new();
    for index in 0..500 {
        assert_eq!(append(&mut tree, &mut flash).unwrap(), index);
        hashes.push(leaf(index));
        if index % 7 == 0 || index % 64 >= 62 || index % 64 == 0 {
            let root = proof::root(&mut Leaves(&hashes), index + 1).unwrap();
            let found = Tree::open(&mut flash, region(4), LOG).unwrap();
            assert_eq!((found.peaks().root(), found.peaks().size()), (root, index + 1));
            assert_eq!((found.rows(), found.oldest()), (tree.rows(), tree.oldest()));
        }
    }
    assert_eq!(tree.oldest(), 256, "four sectors hold at least 192 of 500 leaves");
    let other = Tree::open(&mut flash, region(4), LogId([8; 16])).unwrap();
    assert_eq!(other.peaks().size(), 0, "another log's leaves are not ours");
}

#[test]
fn every_held_leaf_is_proven_and_every_growth_of_the_tree() {
    for (sectors, size) in [(3, 40), (3, 64), (3, 200), (4, 331), (9, 1000)] {
        let mut flash = flash(sectors);
        let mut tree = Tree::open(&mut flash, region(sectors), LOG).unwrap();
        let hashes: Vec<LogHash> = (0..size).map(leaf).collect();
        for _ in 0..size {
            append(&mut tree, &mut flash).unwrap();
        }
        let root = tree.peaks().root();
        let mut reader = TreeReader { tree: &tree, flash: &mut flash };
        for index in tree.oldest()..size {
            let path = inclusion_proof(&mut reader, index, size).unwrap();
            assert!(verify_inclusion(&leaf(index), index, size, &path, &root), "{index} of {size}");
        }
        for before in tree.oldest()..=size {
            let path = consistency_proof(&mut reader, before, size).unwrap();
            let old = proof::root(&mut Leaves(&hashes), before).unwrap();
            assert!(verify_consistency(before, &old, size, &root, &path), "{before} to {size}");
        }
        if tree.oldest() > 0 {
            assert!(inclusion_proof(&mut reader, tree.oldest() - 1, size).is_err(), "no longer held");
        }
    }
}

#[test]
fn a_cut_at_any_operation_loses_no_leaf_that_was_appended_and_invents_none() {
    let count = 200;
    let mut whole = flash(3);
    let mut tree = Tree::open(&mut whole, region(3), LOG).unwrap();
    for _ in 0..count {
        append(&mut tree, &mut whole).unwrap();
    }
    let steps = whole.steps;
    for cut in (0..steps).filter(|step| step % 5 < 3) {
        let mut flash = flash(3).seed(cut);
        flash.cut_at = Some(cut);
        let mut tree = Tree::open(&mut flash, region(3), LOG).unwrap();
        let mut appended = 0;
        while appended < count && append(&mut tree, &mut flash).is_ok() {
            appended += 1;
        }
        flash.restore();
        let mut tree = Tree::open(&mut flash, region(3), LOG).unwrap();
        let rows = tree.rows().of(LeafKind::Event);
        assert!(rows == appended || rows == appended + 1, "cut {cut}: {rows} of {appended}");
        assert_eq!(tree.rotten(), 0, "cut {cut}");
        // It goes on, and all that is held is proven, the void leaf included.
        for _ in 0..70 {
            append(&mut tree, &mut flash).unwrap();
        }
        let again = Tree::open(&mut flash, region(3), LOG).unwrap();
        assert_eq!((again.peaks(), again.rotten()), (tree.peaks(), 0), "cut {cut}");
        let (size, root) = (tree.peaks().size(), tree.peaks().root());
        assert!(size - u64::from(tree.rows().of(LeafKind::Event)) <= 1, "one void leaf at most");
        for index in (tree.oldest()..size).step_by(13) {
            let hash = tree.slot(&mut flash, index).unwrap().unwrap().hash;
            let path =
                inclusion_proof(&mut TreeReader { tree: &tree, flash: &mut flash }, index, size).unwrap();
            assert!(verify_inclusion(&hash, index, size, &path, &root), "cut {cut}: {index}");
        }
    }
}

#[test]
fn a_slot_that_rots_is_not_taken_for_a_void_one() {
    let mut flash = flash(3);
    let mut tree = Tree::open(&mut flash, region(3), LOG).unwrap();
    for _ in 0..10 {
        append(&mut tree, &mut flash).unwrap();
    }
    flash.bytes[HEADER_BYTES + 4 * SLOT_BYTES + 3] ^= 1;
    assert_eq!(tree.slot(&mut flash, 4).unwrap(), None);
    let again = Tree::open(&mut flash, region(3), LOG).unwrap();
    assert_eq!(again.rotten(), 1);
    assert!(again.peaks().root() != tree.peaks().root());
}

#[test]
fn the_standard_layout_covers_every_record_that_it_holds() {
    for layout in [Layout::STANDARD, Layout::TINY] {
        assert!(layout.is_usable());
    }
}
