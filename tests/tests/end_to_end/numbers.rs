//! What engines measure, as whoever asks the acting dispatcher sees it, and as Prometheus does.

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
