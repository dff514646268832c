//! New code again and again, under load: no collection is missed, and no memory is left behind.

use std::fs::File;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::Bench;
use super::guest::Guest;

/// The number of swaps; the environment may ask for more.
const SWAPS: u64 = 200;
const MORE: &str = "NARTHEX_TEST_SWAPS";

/// What the memory may differ by: what the allocator keeps, and the compiler's threads.
const SLACK_BYTES: u64 = 24 << 20;

/// In a process of its own, as the memory of this one is used by other tests, too.
#[test]
fn swaps_miss_nothing_and_leave_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::swaps::alone", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("swaps:"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by the test above"]
async fn alone() {
    let asked = std::env::var(MORE).ok().and_then(|text| text.parse().ok());
    let swaps = asked.unwrap_or(SWAPS);
    let bench = Bench::start();
    swap(&bench, 0).await;
    let exporter = bench.until_exporter("a").await;
    let (ends, collected) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (is_over, counter) = (ends.clone(), collected.clone());
    let load = tokio::spawn(async move {
        while !is_over.load(Ordering::Relaxed) {
            let answer = exporter.collect().await;
            assert!(answer.is_ok(), "{answer:?}");
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let warm = swaps / 3;
    for version in 1..=warm {
        swap(&bench, version).await;
    }
    let before = resident_bytes();
    for version in warm + 1..=swaps {
        swap(&bench, version).await;
    }
    ends.store(true, Ordering::Relaxed);
    load.await.unwrap();
    let after = resident_bytes();
    let plugin_bytes = bench.metric("narthex_plugins_memory_bytes", &[]).unwrap();
    println!(
        "swaps: {swaps}, {} collections, {before} bytes resident after {warm} swaps, {after} at \
         the end, {plugin_bytes} of them linear memory",
        collected.load(Ordering::Relaxed)
    );
    assert!(plugin_bytes <= 4.0 * 65_536.0, "{plugin_bytes}");
    assert!(after < before + SLACK_BYTES, "{before} {after}");
}

/// Puts a version into its place and waits until it gives its number.
async fn swap(bench: &Bench, version: u64) {
    let new = bench.path("version");
    std::fs::write(&new, Guest::exporter().gives("m", version as f64).build()).unwrap();
    // A file that is not new need not come to rest first.
    let file = File::options().write(true).open(&new).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60))
        .unwrap();
    std::fs::rename(&new, bench.plugin_path("a")).unwrap();
    bench.until_value("a", version as f64).await;
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages = text.split(' ').nth(1).unwrap().parse::<u64>().unwrap();
    pages * rustix::param::page_size() as u64
}
