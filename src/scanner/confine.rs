//! What a scanner of its own process gives up before it takes the first file: whoever breaks into it through a file has
//! the keys of the files it is looking at, and should find nothing else there.
//!
//! To be called while the process has one thread: those that come later inherit it.

use rustix::process::{Resource, Rlimit, setrlimit};

use crate::{Error, Result, config::Config};

/// What the kernel took away; said in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confined {
    /// Files other than the scanner keys, ports other than clamd's, signals: `full`, `partly` or `not`.
    pub landlock: &'static str,
    /// System calls that a scanner has no use for.
    pub seccomp: bool,
}

/// Leaves no core dump, whatever happens: keys and files are in the memory.
///
/// # Errors
/// When the kernel refuses.
pub fn leave_no_core() -> Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).map_err(Error::internal)?;
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(Error::internal)?;
    Ok(())
}

/// Gives up what the kernel lets go.
///
/// # Errors
/// When the kernel knows how and refuses.
#[cfg(target_os = "linux")]
pub fn confine(config: &Config) -> Result<Confined> {
    Ok(Confined { landlock: linux::landlock(config)?, seccomp: linux::seccomp()? })
}

/// Nothing is given up: only Linux has it.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn confine(_: &Config) -> Result<Confined> {
    Ok(Confined { landlock: "not", seccomp: false })
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
        RulesetCreatedAttr as _, RulesetStatus, Scope,
    };
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

    use crate::{
        Error, Result,
        config::{ClamdAddress, Config},
    };

    /// The newest version whose meaning is known; what an older kernel has not is left out.
    const KNOWN: ABI = ABI::V6;

    /// Reads the scanner keys, speaks to clamd's port, and nothing else. (Connecting to a Unix socket is no matter of
    /// this: its folder's permissions decide.)
    pub(super) fn landlock(config: &Config) -> Result<&'static str> {
        let keys = PathFd::new(config.scanner.keys_dir(&config.storage.data)).map_err(Error::internal)?;
        let rules = || {
            let mut rules = Ruleset::default()
                .handle_access(AccessFs::from_all(KNOWN))?
                .handle_access(AccessNet::from_all(KNOWN))?
                .scope(Scope::from_all(KNOWN))?
                .create()?
                .add_rule(PathBeneath::new(keys, AccessFs::ReadFile | AccessFs::ReadDir))?;
            if let Ok(ClamdAddress::Tcp(address)) = config.scanner.address() {
                rules = rules.add_rule(NetPort::new(address.port(), AccessNet::ConnectTcp))?;
            }
            rules.restrict_self()
        };
        let status = rules().map_err(Error::internal)?;
        Ok(match status.ruleset {
            RulesetStatus::FullyEnforced => "full",
            RulesetStatus::PartiallyEnforced => "partly",
            RulesetStatus::NotEnforced => "not",
        })
    }

    /// Refuses to run programs, to look into other processes, and what reaches deep into the kernel.
    pub(super) fn seccomp() -> Result<bool> {
        const REFUSED: [libc::c_long; 26] = [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_pidfd_getfd,
            libc::SYS_kcmp,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_request_key,
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_load,
            libc::SYS_open_by_handle_at,
            libc::SYS_reboot,
        ];
        let Ok(target) = TargetArch::try_from(std::env::consts::ARCH) else { return Ok(false) };
        let mut rules: BTreeMap<i64, Vec<_>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
        // The same calls by the numbers of x32, which pass for the same architecture, and the calls only it has.
        #[cfg(target_arch = "x86_64")]
        for call in REFUSED.into_iter().chain(512..=547) {
            rules.insert(call | 0x4000_0000, Vec::new());
        }
        let errno = u32::try_from(libc::EPERM).map_err(Error::internal)?;
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), target);
        let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(Error::internal)?;
        seccompiler::apply_filter(&program).map(|()| true).map_err(Error::internal)
    }
}
