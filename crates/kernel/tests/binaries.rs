//! Symbols and USDT probes of binaries: one that is built here, those of this
//! machine, and damaged ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use kernel::elf_symbols::Binary;
use kernel::glob::Glob;
use kernel::usdt;

/// Builds `tests/data/probes.c` as a shared library; `None` (with the reason
/// printed) where there is no C compiler for this machine.
fn library(name: &str, flags: &[&str]) -> Option<PathBuf> {
    let output = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/probes.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-nostdlib", "-fPIC", "-O1", source, "-o"]).arg(&output).args(flags);
    match compiler.status() {
        Ok(status) if status.success() => Some(output),
        Ok(status) => panic!("cc: {status}"),
        Err(error) => {
            println!("skipped: cc: {error}");
            None
        }
    }
}

fn names(binary: &Binary, pattern: &str) -> Vec<String> {
    binary.functions(&Glob::new(pattern)).expect("sound").into_iter().map(|symbol| symbol.name).collect()
}

/// What nm(1) says is the address of a symbol.
fn nm_address(path: &Path, symbol: &str) -> Option<u64> {
    let output = Command::new("nm").arg(path).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().find(|line| line.ends_with(&format!(" {symbol}")))?;
    u64::from_str_radix(line.split(' ').next()?, 16).ok()
}

#[test]
fn functions_of_a_library() {
    let Some(path) = library("functions.so", &[]) else { return };
    let binary = Binary::open(&path).expect("it was just built");
    assert_eq!(names(&binary, "shop_*"), ["shop_hidden", "shop_open", "shop_sell"]);
    assert_eq!(names(&binary, "shop_sell"), ["shop_sell"]);
    assert_eq!(names(&binary, "shop_hidden"), ["shop_hidden"]);
    assert_eq!(names(&binary, "shop_[os]*"), ["shop_open", "shop_sell"]);
    assert_eq!(names(&binary, "shop_stock"), ["shop_stock"], "a plain name may be data");
    assert_eq!(names(&binary, "no_such_function"), Vec::<String>::new());
    let sell = &binary.functions(&Glob::new("shop_sell")).expect("sound")[0];
    assert_eq!(Some(sell.address), nm_address(&path, "shop_sell"));
    assert_eq!(binary.file_offset(sell.address).expect("loaded"), sell.offset);
    assert!(sell.size > 0);
    assert!(binary.file_offset(u64::MAX).is_err());
}

#[test]
fn a_stripped_library_still_exports() {
    let Some(path) = library("stripped.so", &["-s"]) else { return };
    let binary = Binary::open(&path).expect("it was just built");
    assert_eq!(names(&binary, "shop_*"), ["shop_open", "shop_sell"]);
}

#[test]
fn file_offsets_differ_from_addresses_where_segments_are_moved() {
    let Some(path) = library("moved.so", &["-Wl,-Ttext=0x40000", "-Wl,--build-id"]) else { return };
    let binary = Binary::open(&path).expect("it was just built");
    let bytes = std::fs::read(&path).expect("readable");
    let sites = usdt::sites(&path, &Glob::new("shop"), &Glob::new("sold")).expect("sound");
    assert_eq!(bytes[sites[0].offset as usize], 0x90, "a nop stands at the probe");
    let sell = &binary.functions(&Glob::new("shop_sell")).expect("sound")[0];
    assert!(sell.address >= 0x40000 && sell.offset < bytes.len() as u64, "{sell:?}");
    assert_eq!(binary.build_id().expect("sound").map(|id| id.len()), Some(20));
}

#[test]
fn probes_of_a_library() {
    let Some(path) = library("probes.so", &[]) else { return };
    let any = Glob::new("*");
    let sites = usdt::sites(&path, &any, &any).expect("sound");
    let listed: Vec<_> = sites.iter().map(|s| (s.provider.as_str(), s.name.as_str(), s.args.as_str())).collect();
    assert_eq!(listed, [("shop", "opened", ""), ("shop", "sold", "-4@%edi 8@-16(%rbp) 4@$42")]);
    assert_eq!(sites[0].semaphore, 0);
    let bytes = std::fs::read(&path).expect("readable");
    for site in &sites {
        assert_eq!(bytes[site.offset as usize], 0x90, "a nop stands at the probe");
    }
    let semaphore = nm_address(&path, "shop_sold_semaphore").expect("nm lists it");
    let binary = Binary::open(&path).expect("it was just built");
    assert_eq!(sites[1].semaphore, binary.file_offset(semaphore).expect("loaded"));
    assert_eq!(usdt::sites(&path, &any, &Glob::new("s*")).expect("sound").len(), 1);
    assert_eq!(usdt::sites(&path, &Glob::new("other"), &any).expect("sound").len(), 0);
}

#[test]
fn notes_that_were_prelinked_are_moved_by_the_base() {
    let Some(path) = library("prelinked.so", &[]) else { return };
    let any = Glob::new("*");
    let before = usdt::sites(&path, &any, &any).expect("sound");
    let mut bytes = std::fs::read(&path).expect("readable");
    // Every note's three addresses, as if the library had been 0x1000 lower when they were written.
    let mut at = 0;
    while let Some(found) = bytes[at..].windows(8).position(|window| window == b"stapsdt\0") {
        at += found + 8;
        for place in [at, at + 8, at + 16] {
            let Some(address) = bytes.get(place..place + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
            else {
                break;
            };
            if (0x1000..0x100_0000).contains(&address) {
                bytes[place..place + 8].copy_from_slice(&(address - 0x1000).to_le_bytes());
            }
        }
    }
    let moved = path.with_file_name("prelinked-moved.so");
    std::fs::write(&moved, &bytes).expect("writable");
    assert_eq!(usdt::sites(&moved, &any, &any).expect("sound"), before);
}

#[test]
fn malloc_is_where_uprobes_expect_it() {
    let libc = match kernel::resolve::binary("libc", None) {
        Ok(path) => path,
        Err(error) => return println!("skipped: {error}"),
    };
    let binary = Binary::open(&libc).expect("readable");
    let malloc = binary.functions(&Glob::new("malloc")).expect("sound");
    assert_eq!(malloc.len(), 1, "{malloc:?}");
    assert!(names(&binary, "mallo*").contains(&"malloc".to_owned()));
}

#[test]
fn damaged_binaries_give_errors() {
    let Some(path) = library("sound.so", &["-Wl,-z,noseparate-code"]) else { return };
    let sound = std::fs::read(&path).expect("readable");
    let damaged = path.with_file_name("damaged.so");
    let any = Glob::new("*");
    let ask = |bytes: &[u8]| {
        std::fs::write(&damaged, bytes).expect("writable");
        // The answers do not matter, that they come does.
        if let Ok(binary) = Binary::open(&damaged) {
            let _ = binary.functions(&any);
            let _ = binary.functions(&Glob::new("shop_sell"));
            let _ = binary.build_id();
            let _ = binary.file_offset(0x1000);
        }
        let _ = usdt::sites(&damaged, &any, &any);
    };
    for len in (0..sound.len()).step_by(37) {
        ask(&sound[..len]);
    }
    for at in 0..sound.len() {
        // Runs of zeros are padding between the parts.
        if sound[at] != 0 || at < 1024 {
            let mut bytes = sound.clone();
            bytes[at] = !bytes[at];
            ask(&bytes);
        }
    }
    for text in ["", "\x7fELF", "#!/bin/sh\n"] {
        std::fs::write(&damaged, text).expect("writable");
        assert!(usdt::sites(&damaged, &any, &any).is_err());
    }
}
