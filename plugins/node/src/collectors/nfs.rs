//! NFS: what the client and the server of the kernel count.

use std::collections::BTreeMap;

use narthex_plugin_sdk::Metrics;

use crate::descriptor::{Descriptor, counter, gauge};
use crate::failure::{At, Failure};
use crate::machine::Machine;
use crate::text::{numbers, read_if_there};

/// The procedures of version 2, in the order of the columns.
const VERSION_2: [&str; 18] = [
    "Null", "GetAttr", "SetAttr", "Root", "Lookup", "ReadLink", "Read", "WrCache", "Write",
    "Create", "Remove", "Rename", "Link", "SymLink", "MkDir", "RmDir", "ReadDir", "FsStat",
];

const VERSION_3: [&str; 22] = [
    "Null",
    "GetAttr",
    "SetAttr",
    "Lookup",
    "Access",
    "ReadLink",
    "Read",
    "Write",
    "Create",
    "MkDir",
    "SymLink",
    "MkNod",
    "Remove",
    "RmDir",
    "Rename",
    "Link",
    "ReadDir",
    "ReadDirPlus",
    "FsStat",
    "FsInfo",
    "PathConf",
    "Commit",
];

/// As a client of version 4 has them.
const CLIENT_4: [&str; 59] = [
    "Null",
    "Read",
    "Write",
    "Commit",
    "Open",
    "OpenConfirm",
    "OpenNoattr",
    "OpenDowngrade",
    "Close",
    "Setattr",
    "FsInfo",
    "Renew",
    "SetClientID",
    "SetClientIDConfirm",
    "Lock",
    "Lockt",
    "Locku",
    "Access",
    "Getattr",
    "Lookup",
    "LookupRoot",
    "Remove",
    "Rename",
    "Link",
    "Symlink",
    "Create",
    "Pathconf",
    "StatFs",
    "ReadLink",
    "ReadDir",
    "ServerCaps",
    "DelegReturn",
    "GetACL",
    "SetACL",
    "FsLocations",
    "ReleaseLockowner",
    "Secinfo",
    "FsidPresent",
    "ExchangeID",
    "CreateSession",
    "DestroySession",
    "Sequence",
    "GetLeaseTime",
    "ReclaimComplete",
    "GetDeviceInfo",
    "LayoutGet",
    "LayoutCommit",
    "LayoutReturn",
    "SecinfoNoName",
    "TestStateID",
    "FreeStateID",
    "GetDeviceList",
    "BindConnToSession",
    "DestroyClientID",
    "Seek",
    "Allocate",
    "DeAllocate",
    "LayoutStats",
    "Clone",
];

/// As a server of version 4 has them. The first three are not in use; two more are not given.
const SERVER_4: [&str; 40] = [
    "",
    "",
    "",
    "Access",
    "Close",
    "Commit",
    "Create",
    "DelegPurge",
    "DelegReturn",
    "GetAttr",
    "GetFH",
    "Link",
    "Lock",
    "Lockt",
    "Locku",
    "Lookup",
    "LookupRoot",
    "Nverify",
    "Open",
    "OpenAttr",
    "OpenConfirm",
    "OpenDgrd",
    "PutFH",
    "",
    "",
    "Read",
    "ReadDir",
    "ReadLink",
    "Remove",
    "Rename",
    "Renew",
    "RestoreFH",
    "SaveFH",
    "SecInfo",
    "SetAttr",
    "SetClientID",
    "SetClientIDConfirm",
    "Verify",
    "Write",
    "RelLockOwner",
];

const PACKETS: Descriptor = counter(
    "node_nfs_packets_total",
    "Total NFSd network packets (sent+received) by protocol type.",
);
const CONNECTIONS: Descriptor = counter(
    "node_nfs_connections_total",
    "Total number of NFSd TCP connections.",
);
const RPCS: [Descriptor; 3] = [
    counter("node_nfs_rpcs_total", "Total number of RPCs performed."),
    counter(
        "node_nfs_rpc_retransmissions_total",
        "Number of RPC transmissions performed.",
    ),
    counter(
        "node_nfs_rpc_authentication_refreshes_total",
        "Number of RPC authentication refreshes performed.",
    ),
];
const REQUESTS: Descriptor = counter(
    "node_nfs_requests_total",
    "Number of NFS procedures invoked.",
);

/// nfs.
pub(crate) fn client(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    const KNOWN: [&str; 5] = ["net", "rpc", "proc2", "proc3", "proc4"];
    let path = machine.proc("net/rpc/nfs");
    let text = read_if_there(&path)?;
    let lines = Lines::parse(&text, &KNOWN).at(&path)?;
    let [_, udp, tcp, connections] = lines.exactly("net").at(&path)?;
    PACKETS.add(metrics, ["protocol"], ["udp"], udp);
    PACKETS.add(metrics, ["protocol"], ["tcp"], tcp);
    CONNECTIONS.set(metrics, connections);
    let counts: [f64; 3] = lines.exactly("rpc").at(&path)?;
    for (family, count) in RPCS.iter().zip(counts) {
        family.set(metrics, count);
    }
    for (line, version, methods, least) in [
        ("proc2", "2", VERSION_2.as_slice(), 18),
        ("proc3", "3", VERSION_3.as_slice(), 22),
        ("proc4", "4", CLIENT_4.as_slice(), 0),
    ] {
        let counts = lines.counted(line, least).at(&path)?;
        requests(metrics, &REQUESTS, version, methods, &counts);
    }
    Ok(())
}

const SERVER_PACKETS: Descriptor = counter(
    "node_nfsd_packets_total",
    "Total NFSd network packets (sent+received) by protocol type.",
);
const SERVER_CONNECTIONS: Descriptor = counter(
    "node_nfsd_connections_total",
    "Total number of NFSd TCP connections.",
);
const REPLY_CACHE: [Descriptor; 3] = [
    counter(
        "node_nfsd_reply_cache_hits_total",
        "Total number of NFSd Reply Cache hits (client lost server response).",
    ),
    counter(
        "node_nfsd_reply_cache_misses_total",
        "Total number of NFSd Reply Cache an operation that requires caching (idempotent).",
    ),
    counter(
        "node_nfsd_reply_cache_nocache_total",
        "Total number of NFSd Reply Cache non-idempotent operations (rename/delete/…).",
    ),
];
const STALE: Descriptor = counter(
    "node_nfsd_file_handles_stale_total",
    "Total number of NFSd stale file handles",
);
const READ: Descriptor = counter("node_nfsd_disk_bytes_read_total", "Total NFSd bytes read.");
const WRITTEN: Descriptor = counter(
    "node_nfsd_disk_bytes_written_total",
    "Total NFSd bytes written.",
);
const THREADS: Descriptor = gauge(
    "node_nfsd_server_threads",
    "Total number of NFSd kernel threads that are running.",
);
const READ_AHEAD: Descriptor = gauge(
    "node_nfsd_read_ahead_cache_size_blocks",
    "How large the read ahead cache is in blocks.",
);
const NOT_READ_AHEAD: Descriptor = counter(
    "node_nfsd_read_ahead_cache_not_found_total",
    "Total number of NFSd read ahead cache not found.",
);
const SERVER_RPCS: Descriptor =
    counter("node_nfsd_server_rpcs_total", "Total number of NFSd RPCs.");
const RPC_ERRORS: Descriptor = counter(
    "node_nfsd_rpc_errors_total",
    "Total number of NFSd RPC errors by error type.",
);
const SERVER_REQUESTS: Descriptor = counter(
    "node_nfsd_requests_total",
    "Total number NFSd Requests by method and protocol.",
);

/// nfsd.
pub(crate) fn server(machine: &Machine, metrics: &mut Metrics) -> Result<(), Failure> {
    const KNOWN: [&str; 12] = [
        "rc",
        "fh",
        "io",
        "th",
        "ra",
        "net",
        "rpc",
        "proc2",
        "proc3",
        "proc4",
        "proc4ops",
        "wdeleg_getattr",
    ];
    let path = machine.proc("net/rpc/nfsd");
    let text = read_if_there(&path)?;
    let lines = Lines::parse(&text, &KNOWN).at(&path)?;
    server_counts(&lines, metrics).at(&path)?;
    for (line, version, methods, least) in [
        ("proc2", "2", VERSION_2.as_slice(), 18),
        ("proc3", "3", VERSION_3.as_slice(), 22),
        ("proc4ops", "4", SERVER_4.as_slice(), 39),
    ] {
        let counts = lines.counted(line, least).at(&path)?;
        // Nobody counts on doing nothing.
        let methods: Vec<&str> = methods
            .iter()
            .map(|method| if *method == "Null" { "" } else { method })
            .collect();
        requests(metrics, &SERVER_REQUESTS, version, &methods, &counts);
    }
    let [delegated] = lines.exactly("wdeleg_getattr").at(&path)?;
    requests(
        metrics,
        &SERVER_REQUESTS,
        "4",
        &["WdelegGetattr"],
        &[delegated],
    );
    Ok(())
}

fn server_counts(lines: &Lines<'_>, metrics: &mut Metrics) -> Result<(), String> {
    let counts: [f64; 3] = lines.exactly("rc")?;
    for (family, count) in REPLY_CACHE.iter().zip(counts) {
        family.set(metrics, count);
    }
    let [stale, ..]: [f64; 5] = lines.exactly("fh")?;
    STALE.set(metrics, stale);
    let [read, written] = lines.exactly("io")?;
    READ.set(metrics, read);
    WRITTEN.set(metrics, written);
    let [threads, _] = lines.exactly("th")?;
    THREADS.set(metrics, threads);
    let [size, .., not_found]: [f64; 12] = lines.exactly("ra")?;
    READ_AHEAD.set(metrics, size);
    NOT_READ_AHEAD.set(metrics, not_found);
    let [_, udp, tcp, connections] = lines.exactly("net")?;
    SERVER_PACKETS.add(metrics, ["proto"], ["udp"], udp);
    SERVER_PACKETS.add(metrics, ["proto"], ["tcp"], tcp);
    SERVER_CONNECTIONS.set(metrics, connections);
    let [rpcs, _, format, authentication, client] = lines.exactly("rpc")?;
    SERVER_RPCS.set(metrics, rpcs);
    for (error, count) in [("fmt", format), ("auth", authentication), ("cInt", client)] {
        RPC_ERRORS.add(metrics, ["error"], [error], count);
    }
    Ok(())
}

/// A method that is counted nowhere was never called; one without a name is left out.
fn requests(
    metrics: &mut Metrics,
    family: &Descriptor,
    version: &str,
    methods: &[&str],
    counts: &[f64],
) {
    let counts = counts.iter().copied().chain(std::iter::repeat(0.0));
    let mut family = family.family(metrics).labels(["method", "proto"]);
    for (method, count) in methods.iter().zip(counts) {
        if !method.is_empty() {
            family = family.add([method, version], count);
        }
    }
}

/// The numbers of each line, by the word that it begins with.
struct Lines<'a>(BTreeMap<&'a str, Vec<f64>>);

impl<'a> Lines<'a> {
    fn parse(text: &'a str, known: &[&str]) -> Result<Lines<'a>, String> {
        let mut lines = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let word = words.next().unwrap_or_default();
            if !known.contains(&word) {
                return Err(format!("unknown line {line:?}"));
            }
            // What follows the threads is a histogram that newer kernels leave empty.
            let most = if word == "th" { 2 } else { usize::MAX };
            let values = numbers(words.take(most))?;
            if values.is_empty() {
                return Err(format!("no values in {line:?}"));
            }
            lines.insert(word, values);
        }
        Ok(Lines(lines))
    }

    /// So many values; zeros where there is no such line.
    fn exactly<const N: usize>(&self, word: &str) -> Result<[f64; N], String> {
        match self.0.get(word) {
            None => Ok([0.0; N]),
            Some(values) => values
                .as_slice()
                .try_into()
                .map_err(|_| format!("{} values after {word} and not {N}", values.len())),
        }
    }

    /// The values after the first, which says how many they are.
    fn counted(&self, word: &str, least: usize) -> Result<Vec<f64>, String> {
        let Some(values) = self.0.get(word) else {
            return Ok(Vec::new());
        };
        match values.split_first() {
            Some((count, rest)) if *count == rest.len() as f64 && rest.len() >= least => {
                Ok(rest.to_vec())
            }
            _ => Err(format!("{} values after {word}", values.len())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_checked() {
        let lines = Lines::parse("net 1 2 3 4\nproc4 2 7 8\n", &["net", "proc4"]).unwrap();
        assert_eq!(lines.exactly("net"), Ok([1.0, 2.0, 3.0, 4.0]));
        assert_eq!(lines.exactly("rpc"), Ok([0.0]));
        assert!(lines.exactly::<3>("net").is_err());
        assert_eq!(lines.counted("proc4", 0), Ok(vec![7.0, 8.0]));
        assert!(lines.counted("proc4", 3).is_err());
        assert!(lines.counted("net", 0).is_err());
        for bad in ["new 1\n", "net\n", "net x\n", "\n"] {
            assert!(Lines::parse(bad, &["net"]).is_err(), "{bad:?}");
        }
    }
}
