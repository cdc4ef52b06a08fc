//! Runs a program on one engine, moves it to another one while it runs, and ends it.
//!
//! ```text
//! mosquitto & wayfare engine --id a & wayfare engine --id b &
//! cargo run -p wayfare-client --example run_and_move -- mqtt://127.0.0.1:1883 program.wasm
//! ```

use std::error::Error;

use wayfare_client::{Client, ClientOptions, CommandOptions, Order, Run};
use wayfare_protocol::event::Outcome;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(broker), Some(module)) = (arguments.next(), arguments.next()) else {
        return Err("usage: run_and_move BROKER MODULE".into());
    };
    let fleet = Client::connect(ClientOptions::new(broker.parse()?)).await?;
    let online = fleet.engines().await?.into_iter().filter(|view| view.online);
    let engines: Vec<String> = online.map(|view| view.engine.to_string()).collect();
    let [first, second, ..] = engines.as_slice() else {
        return Err(format!("two engines are needed, and there are {}", engines.len()).into());
    };
    let options = CommandOptions::default();
    let run = Run {
        name: "example".into(),
        module: std::fs::read(&module)?,
        on: Some(first.clone()),
        ..Run::default()
    };
    let Outcome::Running { program, .. } = fleet
        .apply(Order::run(run), &options)
        .await?
        .wait()
        .await?
        .outcome
    else {
        return Err("the engine answered with something else".into());
    };
    println!("{program} runs on {first}");
    let id = program.to_string();
    let moved = fleet
        .apply(Order::move_to(&id, second), &options)
        .await?
        .wait()
        .await?;
    if let Outcome::Moved { report, .. } = moved.outcome {
        let still_ms = report.downtime_us as f64 / 1_000.0;
        println!("it runs on {second}, and stood still for {still_ms:.1} ms");
    }
    fleet.apply(Order::kill(&id), &options).await?.wait().await?;
    fleet.close().await;
    Ok(())
}
