; @[comm] = count(), as short as it gets. The map's descriptor is put in where map[fd:0] stands.
  r1 = r10
  r1 += -16
  r2 = 16
  call bpf_get_current_comm
  r1 = map[fd:0]
  r2 = r10
  r2 += -16
  call bpf_map_lookup_elem
  if r0 == 0 goto first
  r1 = *(u64 *)(r0 + 0)
  r1 += 1
  *(u64 *)(r0 + 0) = r1
  goto out
first:
  *(u64 *)(r10 - 24) = 1
  r1 = map[fd:0]
  r2 = r10
  r2 += -16
  r3 = r10
  r3 += -24
  r4 = 0
  call bpf_map_update_elem
out:
  r0 = 0
  exit
