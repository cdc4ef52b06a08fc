//! `wayfare logs`: what programs have printed, from the dispatcher's store and from their engines, and the
//! printing that `wayfare run --follow` shares.

mod failures;
mod filter;
mod past;
mod printing;
mod which;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wayfare_client::{Follow, LogItem};

pub(super) use self::failures::{FailedInstance, failed_instances, failures_text};
use self::filter::Filter;
use self::past::Past;
pub(crate) use self::printing::{LinePrinter, Lines};
pub(super) use self::printing::{badly, print_all};
use self::which::{Source, Store};
use crate::args::looking::{LogsArgs, ShownStream};
use crate::context::with_fleet;
use crate::fail::{Fail, Result};
use crate::output::Output;

/// What one program has printed, waiting to be shown between that of others.
const QUEUE_MAX: usize = 64;

/// What is shown of a program that is followed.
enum Shown {
    Item(LogItem),
    Remark(String),
}

pub(crate) async fn run(args: LogsArgs, output: Output) -> Result {
    with_fleet(&args.fleet, async |fleet| {
        let store = Store::of(fleet, output).await?;
        let mut sources = Vec::new();
        for wanted in &args.programs {
            sources.extend(store.find(wanted, args.previous).await?);
        }
        for application in &args.app {
            sources.extend(store.find_app(application, args.previous).await?);
        }
        sources.sort_by(|a, b| (&a.label, a.program).cmp(&(&b.label, b.program)));
        sources.dedup_by_key(|source| source.program);
        // Which streams are wanted is the filter's to say.
        let mut printer = LinePrinter::new(Lines::Together(ShownStream::All), args.timestamps, output);
        if sources.len() > 1 {
            printer.name(sources.iter().map(|source| source.label.as_str()));
        }
        let since = print_past(&store, &sources, &args, &mut printer).await?;
        if args.follow {
            let sources = sources.into_iter().zip(since).collect();
            return follow(&store, sources, &args, printer, output).await;
        }
        printer.finish()?;
        // That a program failed is not a failure of showing its log.
        for source in sources {
            if let Some(how) = source.how_it_ended() {
                output.remark(format!("({} {how})", source.label));
            }
        }
        Ok(())
    })
    .await
}

/// All that was printed until now, the earliest first; answers with each program's next line.
async fn print_past(
    store: &Store,
    sources: &[Source],
    args: &LogsArgs,
    printer: &mut LinePrinter,
) -> Result<Vec<u64>> {
    let mut reading: Vec<(mpsc::Receiver<LogItem>, JoinHandle<Result<u64>>)> = Vec::new();
    for source in sources {
        let (sender, items) = mpsc::channel(QUEUE_MAX);
        let past = Past::new(store.clone(), source.clone(), args)?;
        reading.push((items, tokio::spawn(past.send_all(sender))));
    }
    let mut heads = Vec::new();
    for (items, _) in &mut reading {
        heads.push(items.recv().await);
    }
    while let Some(index) = earliest(&heads) {
        if let Some(item) = heads[index].take() {
            printer.item(&sources[index].label, &item)?;
        }
        heads[index] = reading[index].0.recv().await;
    }
    let mut next = Vec::new();
    for (_, task) in reading {
        next.push(joined(task).await?);
    }
    Ok(next)
}

fn earliest(heads: &[Option<LogItem>]) -> Option<usize> {
    let at_ms = |item: &LogItem| match item {
        LogItem::Line(line) => line.at_ms,
        LogItem::Gap { .. } => 0,
    };
    let heads = heads.iter().enumerate();
    let heads = heads.filter_map(|(index, head)| Some((at_ms(head.as_ref()?), index)));
    heads.min().map(|(_, index)| index)
}

/// Until all have ended. It is a failure if one did not end well, or if lines were lost meanwhile.
async fn follow(
    store: &Store,
    sources: Vec<(Source, u64)>,
    args: &LogsArgs,
    mut printer: LinePrinter,
    output: Output,
) -> Result {
    let (sender, mut shown) = mpsc::channel(QUEUE_MAX);
    let mut tasks = Vec::new();
    for (source, since) in sources {
        let (store, filter, sender) = (store.clone(), Filter::of(args)?, sender.clone());
        tasks.push(tokio::spawn(async move {
            follow_one(&store, source, since, &filter, &sender).await
        }));
    }
    drop(sender);
    while let Some((label, what)) = shown.recv().await {
        match what {
            Shown::Item(item) => printer.item(&label, &item)?,
            Shown::Remark(remark) => output.remark(remark),
        }
    }
    printer.finish()?;
    let mut bad = Vec::new();
    for task in tasks {
        bad.extend(joined(task).await?);
    }
    match bad.is_empty() {
        true => Ok(()),
        false => Err(Fail::new("program", bad.join("; "))),
    }
}

/// Until the program has ended, and of an application's instance every program that takes its place. How it
/// ended, unless well.
async fn follow_one(
    store: &Store,
    mut source: Source,
    mut since: u64,
    filter: &Filter,
    sender: &mpsc::Sender<(String, Shown)>,
) -> Result<Option<String>> {
    let remark = |text: String| (String::new(), Shown::Remark(text));
    loop {
        let how = match source.is_there {
            true => follow_program(store, &source, since, filter, sender).await?,
            false => source.how_it_ended(),
        };
        let how = match how {
            Some(how) => format!("{} {how}", source.label),
            None => return Ok(None),
        };
        if source.instance.is_none() || sender.is_closed() {
            return Ok(Some(how));
        }
        // A closed channel ends the loop.
        let _ = sender
            .send(remark(format!("({how}: waiting for its successor)")))
            .await;
        let Some(successor) = store.successor(&source).await? else {
            return Ok(Some(how));
        };
        let text = format!(
            "({} goes on as program {})",
            successor.label,
            successor.program.short()
        );
        let _ = sender.send(remark(text)).await;
        (source, since) = (successor, 0);
    }
}

async fn follow_program(
    store: &Store,
    source: &Source,
    since: u64,
    filter: &Filter,
    sender: &mpsc::Sender<(String, Shown)>,
) -> Result<Option<String>> {
    let mut stream = store
        .fleet()
        .logs(source.program, since, Follow::UntilEnded)
        .await?;
    while let Some(item) = stream.next().await {
        let item = item?;
        if filter.takes(&item)
            && sender
                .send((source.label.clone(), Shown::Item(item)))
                .await
                .is_err()
        {
            stream.leave().await;
            return Ok(None);
        }
    }
    printing::check_missing(&stream, source.program)?;
    Ok(match stream.ended() {
        Some(state) => badly(state),
        None => Some(GONE.to_owned()),
    })
}

/// What is said of a program that is no more, and did not end by itself.
const GONE: &str = "is gone: it was killed, or lost with its engine";

async fn joined<T>(task: JoinHandle<Result<T>>) -> Result<T> {
    match task.await {
        Ok(done) => done,
        Err(error) => Err(Fail::new("task", error.to_string())),
    }
}
