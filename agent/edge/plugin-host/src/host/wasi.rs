//! WASI for components whose language cannot do without it: one that reaches nothing. There are
//! clocks and random numbers; what is written goes to the log; the environment, the arguments and
//! the file system are empty; there are no sockets. In a recorded world clocks and numbers are
//! recorded ones, but sleeping takes its time.
//!
//! Keeps true: whatever a component waits for here ends by the call's deadline and with the
//! instance.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::AsyncWrite;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::DynPollable;
use wasmtime_wasi::p2::bindings::io::poll as waiting;
use wasmtime_wasi::p2::bindings::sync::io::poll;
use wasmtime_wasi::{
    Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView,
};

use crate::bindings::log::Level;
use crate::replay::Replay;
use crate::shared::Shared;

use super::State;
use super::log::{Lines, LogGate};

/// What a component may have open at once, of streams, errors and what it waits for.
const RESOURCES: usize = 1000;

/// Random numbers at once.
const RANDOM_BYTES: u64 = 1 << 20;

/// In a recorded world they come again after so many.
const RECORDED_RANDOM_BYTES: usize = 4096;

pub(crate) struct Wasi {
    ctx: WasiCtx,
    table: ResourceTable,
}

impl Wasi {
    fn new(shared: &Arc<Shared>) -> Wasi {
        let mut ctx = WasiCtx::builder();
        ctx.stdout(Output::new(shared, Level::Info))
            .stderr(Output::new(shared, Level::Warn))
            .max_random_size(RANDOM_BYTES)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        if let Some(replay) = &shared.replay {
            let random = || Deterministic::new(replay.random_bytes(RECORDED_RANDOM_BYTES));
            ctx.wall_clock(RecordedClock(replay.clone()))
                .monotonic_clock(RecordedClock(replay.clone()))
                .secure_random(random())
                .insecure_random(random())
                .insecure_random_seed(0);
        }
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        Wasi {
            ctx: ctx.build(),
            table,
        }
    }
}

/// The clock of a recorded world, which stands still while a component computes.
struct RecordedClock(Arc<Replay>);

impl HostWallClock for RecordedClock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self) -> Duration {
        self.0.wall()
    }
}

impl HostMonotonicClock for RecordedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Besides what the contract offers.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_sync(linker)?;
    // Its own waits end only when they are over.
    linker.allow_shadowing(true);
    poll::add_to_linker::<State, HasSelf<State>>(linker, |state| state)?;
    linker.allow_shadowing(false);
    Ok(())
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let shared = &self.shared;
        let wasi = self.wasi.get_or_insert_with(|| Box::new(Wasi::new(shared)));
        WasiCtxView {
            ctx: &mut wasi.ctx,
            table: &mut wasi.table,
        }
    }
}

impl poll::Host for State {
    fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        let patience = self.patience();
        self.rest();
        let table = self.ctx().table;
        let ready = patience.wait_for(waiting::Host::poll(table, pollables))?;
        self.compute();
        ready
    }
}

impl poll::HostPollable for State {
    fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        let patience = self.patience();
        let table = self.ctx().table;
        patience.wait_for(waiting::HostPollable::ready(table, pollable))?
    }

    fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        let patience = self.patience();
        self.rest();
        let table = self.ctx().table;
        let done = patience.wait_for(waiting::HostPollable::block(table, pollable))?;
        self.compute();
        done
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        waiting::HostPollable::drop(self.ctx().table, pollable)
    }
}

/// A way into the log, line by line.
#[derive(Clone)]
struct Output {
    shared: Arc<Shared>,
    level: Level,
}

impl Output {
    fn new(shared: &Arc<Shared>, level: Level) -> Output {
        let shared = shared.clone();
        Output { shared, level }
    }
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(Writer {
            output: self.clone(),
            lines: Lines::default(),
            gate: LogGate::default(),
        })
    }
}

/// Never waits: what is too much is dropped, and counted.
struct Writer {
    output: Output,
    lines: Lines,
    gate: LogGate,
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Writer {
            output,
            lines,
            gate,
        } = self.get_mut();
        lines.take(bytes, |line| gate.write(&output.shared, output.level, line));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
