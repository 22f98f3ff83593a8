//! Side by side: execloop, `std`, tokio and async-process. `cargo bench` measures; `cargo bench -- --test` runs each
//! case once, on few children. Unaware of how each of them works.
#![allow(
    missing_docs,
    reason = "criterion's macros write public functions without documentation"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
};

use children::Children;
use peers::{AsyncProcess, Execloop, Outcome, Peer, Std, Tokio, raise_fd_limit, time};

mod children;
mod peers;

/// Children alive while one more is started.
const ALIVE: [usize; 5] = [1, 10, 100, 1000, 4000];
/// Children that are killed together.
const CANCELLED: [usize; 2] = [100, 1000];
/// How many are started at once.
const AT_ONCE: [usize; 2] = [1, 16];
/// Children that write at once, and how much each.
const WRITERS: [usize; 2] = [1, 8];
const WRITTEN_BYTES: usize = 64 << 20;

/// In a test no case has more children than this, and none writes more.
const TEST_CHILDREN_MAX: usize = 100;
const TEST_BYTES: usize = 1 << 20;

/// Calls a function for each peer.
macro_rules! for_each_peer {
    ($function:ident($($argument:expr),*)) => {
        $function::<Execloop>($($argument),*);
        $function::<Std>($($argument),*);
        $function::<Tokio>($($argument),*);
        $function::<AsyncProcess>($($argument),*);
    };
}

fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// A bench that fails says why, and ends the run.
fn must<T>(outcome: Outcome<T>) -> T {
    outcome.unwrap_or_else(|error| panic!("{error}"))
}

fn make<P: Peer>() -> P {
    must(P::new())
}

/// Tells whether so many children, with a pidfd and a pipe each, fit the limit of descriptors.
fn fits(alive: usize) -> bool {
    let limit = must(raise_fd_limit());
    let fits = limit >= 2 * alive + 100;
    if !fits {
        eprintln!("skipped: {alive} children: no more than {limit} descriptors can be open");
    }
    fits && (alive <= TEST_CHILDREN_MAX || !is_test())
}

/// One command: started, run, reaped; with null streams.
fn start(criterion: &mut Criterion) {
    let children = must(Children::new().map_err(Into::into));
    let mut group = criterion.benchmark_group("start");
    for at_once in AT_ONCE {
        for_each_peer!(start_by(&mut group, &children, at_once));
    }
}

fn start_by<P: Peer>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    children: &Children,
    at_once: usize,
) {
    let mut peer = make::<P>();
    group.bench_function(BenchmarkId::new(P::NAME, at_once), |bencher| {
        bencher
            .iter_custom(|count| must(time(|| peer.run(&children.nop, count as usize, at_once))));
    });
}

/// The same with 100 bytes of stdout and 20 of stderr captured.
fn capture(criterion: &mut Criterion) {
    let children = must(Children::new().map_err(Into::into));
    let mut group = criterion.benchmark_group("capture");
    for at_once in AT_ONCE {
        for_each_peer!(capture_by(&mut group, &children, at_once));
    }
}

fn capture_by<P: Peer>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    children: &Children,
    at_once: usize,
) {
    let mut peer = make::<P>();
    group.bench_function(BenchmarkId::new(P::NAME, at_once), |bencher| {
        bencher.iter_custom(|count| {
            must(time(|| {
                peer.capture(&children.say, count as usize, at_once)
            }))
        });
    });
}

/// One command beside others that sleep, each with a pipe.
fn many(criterion: &mut Criterion) {
    let children = must(Children::new().map_err(Into::into));
    let mut group = criterion.benchmark_group("many");
    for alive in ALIVE.into_iter().filter(|alive| fits(*alive)) {
        for_each_peer!(many_by(&mut group, &children, alive));
    }
}

fn many_by<P: Peer>(group: &mut BenchmarkGroup<'_, WallTime>, children: &Children, alive: usize) {
    // A case that the command line leaves out is never called, and then starts no children.
    let mut kept: Option<P> = None;
    group.bench_function(BenchmarkId::new(P::NAME, alive), |bencher| {
        let peer = kept.get_or_insert_with(|| {
            let mut peer = make::<P>();
            must(peer.hold(&children.pause, alive));
            peer
        });
        bencher.iter_custom(|count| {
            let run = |_| peer.start_and_wait(&children.nop, &mut || ());
            must(time(|| (0..count).try_for_each(run)))
        });
    });
    if let Some(mut peer) = kept {
        must(peer.release());
    }
}

/// Children that write as fast as they can.
fn bulk(criterion: &mut Criterion) {
    let children = must(Children::new().map_err(Into::into));
    let bytes = if is_test() { TEST_BYTES } else { WRITTEN_BYTES };
    let mut group = criterion.benchmark_group("bulk");
    group.sample_size(10);
    for writers in WRITERS {
        group.throughput(Throughput::Bytes((writers * bytes) as u64));
        for_each_peer!(bulk_by(&mut group, &children, writers, bytes));
    }
}

fn bulk_by<P: Peer>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    children: &Children,
    writers: usize,
    bytes: usize,
) {
    let mut peer = make::<P>();
    let blast = must(children.blast(bytes).map_err(Into::into));
    group.bench_function(BenchmarkId::new(P::NAME, writers), |bencher| {
        bencher.iter(|| {
            let counted = must(peer.count_bytes(black_box(&blast), writers));
            assert_eq!(counted, writers * bytes);
        });
    });
}

/// From the word to end all of them to the last one reaped.
fn cancel_all(criterion: &mut Criterion) {
    let children = must(Children::new().map_err(Into::into));
    let mut group = criterion.benchmark_group("cancel_all");
    group.sample_size(10);
    for count in CANCELLED.into_iter().filter(|count| fits(*count)) {
        for_each_peer!(cancel_all_by(&mut group, &children, count));
    }
}

fn cancel_all_by<P: Peer>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    children: &Children,
    held: usize,
) {
    let mut peer = make::<P>();
    group.bench_function(BenchmarkId::new(P::NAME, held), |bencher| {
        bencher.iter_custom(|count| {
            let mut total = Duration::ZERO;
            for _ in 0..count {
                must(peer.hold(&children.pause, held));
                total += must(time(|| peer.release()));
            }
            total
        });
    });
}

fn quick() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args()
}

criterion_group! {
    name = compare;
    config = quick();
    targets = start, capture, many, bulk, cancel_all
}
criterion_main!(compare);
