//! Slots share places in the frame where their contents are never needed at the
//! same time.

use ir::{Module, Slot, SlotLayout, parse_module, slot_layout};

fn layout(text: &str) -> (Module, SlotLayout) {
    let module = parse_module(text).unwrap();
    ir::verify_module(&module).unwrap();
    let func = module.funcs.values().next().unwrap();
    let layout = slot_layout(func, &module.maps, |_| true);
    (module, layout)
}

fn offsets(layout: &SlotLayout, slots: u32) -> Vec<Option<u32>> {
    (0..slots).map(|i| layout.offsets[Slot::from_u32(i)]).collect()
}

#[test]
fn slots_used_one_after_the_other_share() {
    let (_, layout) = layout(
        r#"map0 = map "@" type hash key 8 value 8 entries 16
function fn0 "f" {
    slot0 = 8 align 8
    slot1 = 8 align 8
    slot2 = 4 align 4
block0(v0):
    v1 = slot_addr slot0
    v2 = slot_addr slot1
    v3 = slot_addr slot2
    v4 = map_addr map0
    store u64 v1+0, v0
    store u32 v3+0, v0
    v5 = call_helper map_delete_elem(v4, v1)
    store u64 v2+0, v5
    v6 = call_helper map_delete_elem(v4, v2)
    v7 = load u32 v3+0
    return v7
}"#,
    );
    assert_eq!(offsets(&layout, 3), [Some(0), Some(0), Some(8)]);
    assert_eq!(layout.bytes, 16);
}

#[test]
fn slots_of_one_call_do_not_share() {
    let (_, layout) = layout(
        r#"map0 = map "@" type hash key 8 value 8 entries 16
function fn0 "f" {
    slot0 = 8 align 8
    slot1 = 8 align 8
block0(v0):
    v1 = slot_addr slot0
    v2 = slot_addr slot1
    v3 = map_addr map0
    v4 = iconst 0
    store u64 v1+0, v0
    store u64 v2+0, v0
    v5 = call_helper map_update_elem(v3, v1, v2, v4)
    return v5
}"#,
    );
    assert_eq!(offsets(&layout, 2), [Some(0), Some(8)]);
}

#[test]
fn contents_that_a_loop_carries_around_keep_their_place() {
    let (_, layout) = layout(
        r#"function fn0 "f" {
    slot0 = 8 align 8
    slot1 = 8 align 8
    slot2 = 8 align 8
block0(v0):
    v1 = slot_addr slot0
    v2 = slot_addr slot1
    v6 = slot_addr slot2
    store u64 v1+0, v0
    jump block1
block1:
    store u64 v2+0, v0
    v3 = load u64 v2+0
    v4 = load u64 v1+0
    store u64 v1+0, v3
    store u64 v6+0, v3
    v7 = load u64 v6+0
    branch v7, block1, block2
block2:
    return v4
}"#,
    );
    assert_eq!(offsets(&layout, 3), [Some(0), Some(8), Some(8)]);
}

#[test]
fn captured_slots_keep_their_place() {
    let (_, layout) = layout(
        r#"function fn0 "f" {
    slot0 = 8 align 8
    slot1 = 8 align 8
    slot2 = 16 align 8
block0(v0):
    v1 = slot_addr slot0
    v2 = slot_addr slot1
    v3 = slot_addr slot2
    store u64 v3+0, v1
    v4 = load_ptr v3+0: ptr<stack>
    store u64 v1+0, v0
    store u64 v2+0, v0
    v5 = load u64 v2+0
    v6 = load u64 v4+0
    v7 = add v5, v6
    return v7
}"#,
    );
    // The pointer to slot0 outlives its last direct use; slot2 is done by then.
    assert_eq!(offsets(&layout, 3), [Some(16), Some(0), Some(0)]);
}

#[test]
fn only_the_wanted_slots_are_placed() {
    let module = parse_module(
        r#"function fn0 "f" {
    slot0 = 600 align 8
    slot1 = 12 align 4
    slot2 = 8 align 8
block0(v0):
    v1 = slot_addr slot1
    v2 = slot_addr slot2
    v3 = call_helper perf_event_output(v0, v0, v0, v1, v2)
    return v3
}"#,
    )
    .unwrap();
    let func = module.funcs.values().next().unwrap();
    let layout = slot_layout(func, &module.maps, |slot| func.slots[slot].bytes < 512);
    assert_eq!(layout.offsets[Slot::from_u32(0)], None);
    assert_eq!(layout.bytes % 8, 0);
}
