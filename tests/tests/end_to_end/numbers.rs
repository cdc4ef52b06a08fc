//! What engines measure, as whoever asks the acting dispatcher sees it, and as Prometheus does.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wayfare_gateway::metrics;
use wayfare_tests::broker::Kind;
use wayfare_tests::job::Job;
use wayfare_tests::within;

use crate::fleet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_works_is_measured_where_it_is_and_prometheus_reads_it() {
    let fleet = fleet(Kind::Mosquitto)
        .registry()
        .engines(&["a", "b"])
        .start()
        .await;
    let job = Job::endless(64);
    let watched = fleet.run(&job, "a").await;
    watched.printed(3).await;
    let measured = async |engine: &str| loop {
        let numbers = fleet.client.numbers().await.expect("open").unwrap_or_default();
        if let Some(load) = numbers.programs.get(&watched.program)
            && load.engine.as_str() == engine
            && load.numbers.cpu_us.is_some_and(|us| us > 0)
            && load.numbers.log_lines >= 3
        {
            return (load.clone(), numbers.engines);
        }
    };
    let (load, engines) = within("it to be measured", measured("a")).await;
    assert!(load.numbers.memory_bytes > 0);
    assert_eq!(engines.len(), 2, "those without programs are measured too");
    let machine = &engines[&"b".parse().expect("a name")].numbers;
    assert!(machine.memory_bytes.is_some() && machine.disk_free_bytes.is_some());

    fleet.moves(watched.program, "b").await;
    watched.goes_on().await;
    let (moved, _) = within("it to be measured there", measured("b")).await;
    assert!(moved.numbers.generation > load.numbers.generation);

    let text = metrics::text(&fleet.client).await.expect("open");
    let id = watched.program.to_string();
    let of_program = |metric: &str| {
        let line = text
            .lines()
            .find(|line| line.starts_with(metric) && line.contains(&id));
        line.unwrap_or_else(|| panic!("no {metric} in {text}")).to_owned()
    };
    assert!(of_program("wayfare_program_cpu_seconds_total{").contains("engine=\"b\""));
    assert!(
        of_program("wayfare_program_moves_total{").ends_with(" 1.0"),
        "{text}"
    );
    assert!(text.contains("wayfare_engine_online{engine=\"a\"} 1.0"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    fleet.kills(watched).await;
}

/// What Prometheus gets from an engine that serves its numbers itself.
async fn scraped(log: &str) -> String {
    let address = log.lines().rev().find_map(|line| {
        let (_, rest) = line.split_once("metrics are at http://")?;
        rest.split_once("/metrics").map(|(address, _)| address.to_owned())
    });
    let address = address.expect("the engine says where");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: engine\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("it answers");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_is_asked_to_serves_its_own_numbers_without_broker_and_dispatcher() {
    let mut fleet = fleet(Kind::Mosquitto)
        .engine("a", &["--metrics", "127.0.0.1:0"])
        .start()
        .await;
    let watched = fleet.run(&Job::endless(64), "a").await;
    watched.printed(3).await;
    let id = watched.program.to_string();
    for is_broker_there in [true, false] {
        if !is_broker_there {
            fleet.broker.kill().await;
        }
        let text = within("a scrape", scraped(&fleet.engine("a").log())).await;
        assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
        for line in [
            "wayfare_engine_online{engine=\"a\"} 1.0",
            "wayfare_engine_programs{engine=\"a\"} 1.0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let lines = text
            .lines()
            .find(|line| line.starts_with("wayfare_program_log_lines_total{") && line.contains(&id));
        let (_, count) = lines.expect("it runs").rsplit_once(' ').expect("a value");
        assert!(count.parse::<f64>().expect("a number") >= 3.0, "{text}");
    }
}
