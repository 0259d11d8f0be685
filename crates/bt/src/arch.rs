//! What the language must know about a processor: its registers as `struct pt_regs`
//! holds them, and where calls find their arguments.
//!
//! Offsets are bytes into the kernel's `struct pt_regs`.

/// One architecture.
#[derive(Debug, PartialEq, Eq)]
pub struct Arch {
    pub name: &'static str,
    /// Arguments of a function call, in order (x86-64: System V; aarch64: AAPCS64).
    pub args: &'static [u16],
    /// Where the first argument that is not in a register stands, in bytes above the stack pointer at a
    /// function's entry; the others follow, 8 bytes each.
    pub stack_args: u16,
    pub ret: u16,
    pub ip: u16,
    pub sp: u16,
    pub frame: u16,
    /// Arguments of a system call, in order, in the `pt_regs` that `sys_enter` passes.
    pub syscall_args: &'static [u16],
    /// The number of the system call, in the `pt_regs` that `sys_enter` and `sys_exit` pass.
    pub syscall_number: u16,
    /// Bytes of the number's field.
    pub syscall_number_bytes: u8,
    /// Names that `reg("…")` takes.
    pub registers: &'static [(&'static str, u16)],
}

/// Part of a register: `%al` is one byte of `ax`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterPart {
    /// Of its least significant byte.
    pub offset: u16,
    pub bytes: u8,
}

/// `arch/x86/include/asm/ptrace.h`.
pub static X86_64: Arch = Arch {
    name: "x86-64",
    args: &[112, 104, 96, 88, 72, 64],
    stack_args: 8,
    ret: 80,
    ip: 128,
    sp: 152,
    frame: 32,
    syscall_args: &[112, 104, 96, 56, 72, 64],
    syscall_number: 120,
    syscall_number_bytes: 8,
    registers: &[
        ("r15", 0),
        ("r14", 8),
        ("r13", 16),
        ("r12", 24),
        ("bp", 32),
        ("bx", 40),
        ("r11", 48),
        ("r10", 56),
        ("r9", 64),
        ("r8", 72),
        ("ax", 80),
        ("cx", 88),
        ("dx", 96),
        ("si", 104),
        ("di", 112),
        ("orig_ax", 120),
        ("ip", 128),
        ("pc", 128),
        ("cs", 136),
        ("flags", 144),
        ("sp", 152),
        ("ss", 160),
    ],
};

/// `arch/arm64/include/asm/ptrace.h`.
pub static AARCH64: Arch = Arch {
    name: "aarch64",
    args: &[0, 8, 16, 24, 32, 40, 48, 56],
    stack_args: 0,
    ret: 0,
    ip: 256,
    sp: 248,
    frame: 232,
    // x0 is overwritten by the result: `orig_x0` keeps the first argument.
    syscall_args: &[272, 8, 16, 24, 32, 40],
    syscall_number: 280,
    syscall_number_bytes: 4,
    registers: &[
        ("r0", 0),
        ("r1", 8),
        ("r2", 16),
        ("r3", 24),
        ("r4", 32),
        ("r5", 40),
        ("r6", 48),
        ("r7", 56),
        ("r8", 64),
        ("r9", 72),
        ("r10", 80),
        ("r11", 88),
        ("r12", 96),
        ("r13", 104),
        ("r14", 112),
        ("r15", 120),
        ("r16", 128),
        ("r17", 136),
        ("r18", 144),
        ("r19", 152),
        ("r20", 160),
        ("r21", 168),
        ("r22", 176),
        ("r23", 184),
        ("r24", 192),
        ("r25", 200),
        ("r26", 208),
        ("r27", 216),
        ("r28", 224),
        ("r29", 232),
        ("r30", 240),
        ("sp", 248),
        ("pc", 256),
        ("pstate", 264),
    ],
};

impl Arch {
    /// The architecture that this program was built for.
    pub fn native() -> &'static Arch {
        if cfg!(target_arch = "aarch64") { &AARCH64 } else { &X86_64 }
    }

    /// Offset of the register that `reg("name")` means.
    pub fn register(&self, name: &str) -> Option<u16> {
        self.registers.iter().find(|(known, _)| *known == name).map(|&(_, offset)| offset)
    }

    /// The register (or part of one) that an assembler operand names, without its `%`.
    pub fn operand_register(&self, name: &str) -> Option<RegisterPart> {
        match self.name {
            "aarch64" => self.aarch64_operand(name),
            _ => self.x86_64_operand(name),
        }
    }

    fn x86_64_operand(&self, name: &str) -> Option<RegisterPart> {
        let part = |name: &str, bytes| Some(RegisterPart { offset: self.register(name)?, bytes });
        if let Some(number) = name.strip_prefix('r').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            let (number, bytes) = match number.as_bytes().last() {
                Some(b'd') => (&number[..number.len() - 1], 4),
                Some(b'w') => (&number[..number.len() - 1], 2),
                Some(b'b') => (&number[..number.len() - 1], 1),
                _ => (number, 8),
            };
            return part(&format!("r{number}"), bytes);
        }
        match name {
            "al" | "bl" | "cl" | "dl" => part(&format!("{}x", &name[..1]), 1),
            // The second byte of the register.
            "ah" | "bh" | "ch" | "dh" => {
                let low = part(&format!("{}x", &name[..1]), 1)?;
                Some(RegisterPart { offset: low.offset + 1, bytes: 1 })
            }
            "sil" | "dil" | "bpl" | "spl" => part(&name[..2], 1),
            _ => {
                let (word, bytes) = match name.strip_prefix('r') {
                    Some(word) => (word, 8),
                    None => match name.strip_prefix('e') {
                        Some(word) => (word, 4),
                        None => (name, 2),
                    },
                };
                let known = ["ax", "bx", "cx", "dx", "si", "di", "bp", "sp", "ip"].contains(&word);
                if known { part(word, bytes) } else { None }
            }
        }
    }

    fn aarch64_operand(&self, name: &str) -> Option<RegisterPart> {
        let (number, bytes) = match name {
            "sp" => return Some(RegisterPart { offset: self.sp, bytes: 8 }),
            _ if name.starts_with('x') => (&name[1..], 8),
            _ if name.starts_with('w') => (&name[1..], 4),
            _ => return None,
        };
        Some(RegisterPart { offset: self.register(&format!("r{number}"))?, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn x86_64_operands() {
        for (name, offset, bytes) in [
            ("rax", 80, 8),
            ("eax", 80, 4),
            ("ax", 80, 2),
            ("al", 80, 1),
            ("ah", 81, 1),
            ("r8", 72, 8),
            ("r8d", 72, 4),
            ("r15w", 0, 2),
            ("r9b", 64, 1),
            ("sil", 104, 1),
            ("rbp", 32, 8),
            ("rip", 128, 8),
        ] {
            assert_eq!(X86_64.operand_register(name), Some(RegisterPart { offset, bytes }), "{name}");
        }
        for name in ["", "xmm0", "r99", "rr8", "r", "e", "fs", "r8q", "orig_ax"] {
            assert_eq!(X86_64.operand_register(name), None, "{name}");
        }
    }

    #[test]
    fn aarch64_operands() {
        assert_eq!(AARCH64.operand_register("w3"), Some(RegisterPart { offset: 24, bytes: 4 }));
        assert_eq!(AARCH64.operand_register("sp"), Some(RegisterPart { offset: 248, bytes: 8 }));
        assert_eq!(AARCH64.operand_register("x31"), None);
        assert_eq!(AARCH64.operand_register("d0"), None);
    }
}
