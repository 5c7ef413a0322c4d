//! Tests which connection is closed for a new one, without sockets.

use std::net::Ipv4Addr;

use super::*;

const LIMITS: ConnectionLimits = ConnectionLimits {
    handshakes: 3,
    connections: 3,
    first_request_timeout: Duration::from_secs(10),
    header_timeout: Duration::from_secs(3),
    idle_timeout: Duration::from_secs(120),
};

fn peer(last: u8) -> IpAddr {
    IpAddr::from(Ipv4Addr::new(192, 0, 2, last))
}

struct Port {
    connections: Arc<Connections>,
    generation: Arc<AtomicU64>,
    metrics: Metrics,
}

impl Port {
    fn new() -> Self {
        let (metrics, generation) = (Metrics::new(), Arc::default());
        let connections = Connections::new(LIMITS, metrics.clone(), "webhook", Arc::clone(&generation));
        Self { connections, generation, metrics }
    }

    fn handshake(&self, last: u8) -> Place {
        self.connections.enter(peer(last))
    }

    fn open(&self, last: u8) -> Place {
        let place = self.handshake(last);
        self.connections.open(&place).unwrap();
        place
    }

    /// A connection that has just entered this phase.
    async fn doing(&self, last: u8, phase: Phase) -> Place {
        let place = self.open(last);
        place.seat.enter(phase, self.connections.now());
        advance(1).await;
        place
    }

    fn shows(&self, sample: &str) -> bool {
        self.metrics.text().unwrap().lines().any(|line| line == sample)
    }
}

async fn advance(milliseconds: u64) {
    tokio::time::advance(Duration::from_millis(milliseconds)).await;
}

fn left(places: &[&Place]) -> Vec<bool> {
    places.iter().map(|place| place.seat.reads_no_more()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_new_handshake_replaces_one_of_the_peer_that_has_most() {
    let port = Port::new();
    let honest = port.handshake(1);
    advance(1).await;
    let first = port.handshake(2);
    advance(1).await;
    let second = port.handshake(2);
    let newcomer = port.handshake(3);
    assert_eq!(left(&[&honest, &first, &second, &newcomer]), [false, true, false, false]);
    assert!(port.connections.open(&first).is_err(), "it has lost its place");
    port.connections.open(&honest).unwrap();
}

#[tokio::test(start_paused = true)]
async fn handshakes_do_not_replace_open_connections() {
    let port = Port::new();
    let open = [port.open(1), port.open(1), port.open(1)];
    let _silent = [port.handshake(2), port.handshake(2), port.handshake(2)];
    assert_eq!(left(&open.each_ref()), [false; 3]);
    assert!(port.shows(r#"crm_admission_open_connections{port="webhook"} 6"#));
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_connection_of_the_peer_that_has_most_is_closed_first() {
    let port = Port::new();
    let other = port.doing(1, Phase::Idle).await;
    let older = port.doing(2, Phase::Fresh).await;
    let newer = port.doing(2, Phase::Idle).await;
    let newcomer = port.open(1);
    // 1 has as many as 2, counting the newcomer. Of equal peers it is always the same one.
    assert_eq!(left(&[&other, &older, &newer, &newcomer]), [false, true, false, false]);
    assert!(!older.seat.is_closed(), "it may still write pending bytes");
    assert!(port.shows(r#"crm_admission_connection_failures_total{stage="limit"} 1"#));
}

#[tokio::test(start_paused = true)]
async fn without_an_idle_connection_the_longest_busy_one_of_the_peer_that_has_most_is_closed() {
    let port = Port::new();
    let other = port.doing(1, Phase::Working).await;
    let first = port.doing(2, Phase::Working).await;
    let second = port.doing(2, Phase::Headers).await;
    let newcomer = port.open(3);
    assert_eq!(left(&[&other, &first, &second, &newcomer]), [false, true, false, false]);
    assert!(first.seat.is_closed(), "at once");
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_of_the_peer_that_has_most_replaces_its_own_idle_one() {
    let port = Port::new();
    let first = port.doing(1, Phase::Working).await;
    let second = port.doing(1, Phase::Idle).await;
    let third = port.doing(1, Phase::Working).await;
    let _newcomer = port.open(1);
    assert_eq!(left(&[&first, &second, &third]), [false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_of_the_peer_that_has_most_is_denied_if_all_are_busy() {
    let port = Port::new();
    let mut busy = Vec::new();
    for _ in 0..LIMITS.connections {
        busy.push(port.doing(1, Phase::Working).await);
    }
    let denied = port.handshake(1);
    let error = port.connections.open(&denied).unwrap_err();
    assert!(error.get_ref().unwrap().is::<Full>(), "{error}");
    assert!(busy.iter().all(|place| !place.seat.reads_no_more()));
}

#[tokio::test(start_paused = true)]
async fn a_closed_connection_frees_its_place() {
    let port = Port::new();
    for _ in 0..10 {
        drop([port.open(1), port.open(1), port.open(1)]);
    }
    assert!(port.shows(r#"crm_admission_open_connections{port="webhook"} 0"#));
    assert!(port.shows(r#"crm_admission_connection_failures_total{stage="limit"} 0"#));
}

#[tokio::test(start_paused = true)]
async fn each_phase_has_its_time_limit() {
    let limits = [
        (Phase::Fresh, LIMITS.first_request_timeout),
        (Phase::Headers, LIMITS.header_timeout),
        (Phase::Idle, LIMITS.idle_timeout),
    ];
    for (phase, limit) in limits {
        let port = Port::new();
        let place = port.open(1);
        place.seat.enter(phase, port.connections.now());
        tokio::time::advance(limit - Duration::from_millis(1)).await;
        port.connections.sweep_once();
        assert!(!place.seat.reads_no_more(), "{phase:?}");
        advance(1).await;
        port.connections.sweep_once();
        assert!(place.seat.reads_no_more(), "{phase:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_in_progress_has_its_own_deadline() {
    let port = Port::new();
    let place = port.doing(1, Phase::Working).await;
    tokio::time::advance(Duration::from_secs(3600)).await;
    port.connections.sweep_once();
    assert!(!place.seat.reads_no_more());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_close_when_asked_is_closed() {
    let port = Port::new();
    let _most = [port.doing(1, Phase::Idle).await, port.doing(1, Phase::Idle).await];
    let goes = port.doing(2, Phase::Idle).await;
    goes.seat.ask_to_leave(port.connections.now());
    tokio::time::advance(WRITE_TIMEOUT).await;
    port.connections.sweep_once();
    assert!(goes.seat.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_replaced_connection_that_does_not_close_is_closed_too() {
    let port = Port::new();
    let goes = port.doing(1, Phase::Idle).await;
    let _others = [port.open(1), port.open(1), port.open(2)];
    assert!(goes.seat.reads_no_more() && !goes.seat.is_closed());
    tokio::time::advance(WRITE_TIMEOUT).await;
    port.connections.sweep_once();
    assert!(goes.seat.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_changed_client_ca_closes_idle_connections_now_and_busy_ones_after_their_request() {
    let port = Port::new();
    let idle = port.doing(1, Phase::Idle).await;
    let busy = port.doing(1, Phase::Working).await;
    let handshake = port.handshake(1);
    port.generation.fetch_add(1, Ordering::AcqRel);
    port.connections.sweep_once();
    assert_eq!(left(&[&idle, &busy]), [true, false]);
    assert!(busy.seat.is_leaving(), "its answer has Connection: close");
    busy.seat.enter(Phase::Idle, port.connections.now());
    assert!(busy.seat.reads_no_more());
    let error = port.connections.open(&handshake).unwrap_err();
    assert!(error.get_ref().unwrap().is::<Outdated>(), "{error}");

    let after = port.open(1);
    port.connections.sweep_once();
    assert!(!after.seat.reads_no_more());
}
