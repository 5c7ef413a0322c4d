//! Tests that the commands and kubectl understand a kubeconfig in the same way: both reach the cluster, or both fail.

use crate::stage;
use crate::support::control_plane::{ControlPlane, token};
use crate::support::net;
use crate::support::pki::Authority;
use crate::support::process::{self, Log, Process};
use crate::support::proxy::Proxy;
use crate::support::relay::{Greeting, Relay};
use crate::support::webhook;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A host that no resolver knows, so that only a proxy can reach it.
const HIDDEN: &str = "api.crm-admission.invalid";
/// How many kubeconfigs are tried at the same time.
const AT_A_TIME: usize = 3;
/// Texts of Rust's `Debug`, which no message may contain.
const RUST: [&str; 7] = ["Some(", "None", "Status {", "Error(", "Error {", "Output {", "kube/http-proxy"];

/// What must happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    /// Both reach the cluster.
    Works,
    /// Both fail, and our message contains this.
    Fails(&'static str),
}
use Expect::{Fails, Works};

/// A kubeconfig and the environment, for kubectl and for the program.
struct Case {
    name: &'static str,
    /// The value of `KUBECONFIG`; `None` if it is not set.
    list: Option<String>,
    args: Vec<String>,
    variables: Vec<(&'static str, String)>,
    expect: Expect,
    /// What our message must name if it fails: the file or the context.
    names: String,
}

/// The files of this test.
struct Files<'p> {
    plane: &'p ControlPlane,
    directory: PathBuf,
    port: u16,
}

impl<'p> Files<'p> {
    fn new(plane: &'p ControlPlane) -> Self {
        let [_, port] = plane.ports();
        let directory = plane.workspace().file("kubeconfigs-of-people", "x");
        Self { plane, directory: directory.parent().expect("a directory").to_owned(), port }
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        self.plane.workspace().write("kubeconfigs-of-people", name, content)
    }

    /// The cluster as every case has it: with TLS, at 127.0.0.1.
    fn cluster(&self) -> Value {
        json!({
            "server": format!("https://127.0.0.1:{}", self.port),
            "certificate-authority": self.plane.authority(),
        })
    }

    /// The cluster with other settings; `null` removes one.
    fn cluster_with(&self, settings: Value) -> Value {
        merged(self.cluster(), settings)
    }

    /// A kubeconfig with one context, `of-NAME`.
    fn config(&self, name: &str, cluster: &Value, user: &Value) -> PathBuf {
        self.write(name, &content(&format!("of-{name}"), cluster, user).to_string())
    }

    /// A case with one file in `KUBECONFIG`.
    fn case(&self, name: &'static str, cluster: &Value, user: &Value, expect: Expect) -> Case {
        let file = self.config(name, cluster, user).display().to_string();
        Case { name, names: file.clone(), list: Some(file), args: vec![], variables: vec![], expect }
    }

    /// A script that prints an ExecCredential with this status, and how a user uses it.
    fn plugin(&self, name: &str, script: &str) -> Value {
        let path = self.write(name, script);
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": [path],
            "interactiveMode": "Never",
        }})
    }
}

fn merged(mut value: Value, settings: Value) -> Value {
    let object = value.as_object_mut().expect("an object");
    for (key, setting) in settings.as_object().expect("an object") {
        match setting {
            Value::Null => drop(object.remove(key)),
            setting => drop(object.insert(key.clone(), setting.clone())),
        }
    }
    value
}

fn content(context: &str, cluster: &Value, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    })
}

fn alice() -> Value {
    json!({"token": token("alice")})
}

fn credential(status: &Value) -> String {
    let credential = json!({
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": status,
    });
    // `echo` of some shells would interpret the escapes.
    format!("cat <<'END'\n{credential}\nEND\n")
}

#[test]
fn the_commands_and_kubectl_understand_a_kubeconfig_in_the_same_way() {
    let stage = stage::shared();
    let files = Files::new(&stage.plane);
    let relays = Relays::start(&files);
    let mut cases = users(&files);
    cases.extend(servers(&files, &relays));
    cases.extend(several_files(&files));
    cases.extend(proxies(&files, &relays));
    let mut wrong = Vec::new();
    for some in cases.chunks(AT_A_TIME) {
        std::thread::scope(|scope| {
            let running: Vec<_> = some
                .iter()
                .map(|case| scope.spawn(|| difference(&stage.plane, &files.directory, case)))
                .collect();
            wrong.extend(running.into_iter().filter_map(|case| case.join().expect("a result")));
        });
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(
        relays.web.met() > 0 && relays.secret.met() > 0 && relays.socks.met() > 0,
        "the proxies were used"
    );
    assert_eq!(relays.unused.met(), 0, "NO_PROXY was not honoured");
}

/// How a user says who they are.
fn users(files: &Files<'_>) -> Vec<Case> {
    let identity = |name: &str| files.plane.workspace().file("identities", name);
    let data = |name: &str| STANDARD.encode(std::fs::read(identity(name)).expect("an identity"));
    let cluster = files.cluster();
    let token_file = files.write("alice.token", &format!("{}\n", token("alice")));
    let other = Authority::create("of another cluster").client("alice");
    let of_plugin = json!({
        "clientCertificateData": std::fs::read_to_string(identity("alice.crt")).expect("a certificate"),
        "clientKeyData": std::fs::read_to_string(identity("alice.key")).expect("a key"),
    });
    let plugin = files.plugin("plugin.sh", &credential(&json!({"token": token("alice")})));
    let absent = merged(
        plugin.clone(),
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "crm-admission-has-no-such-plugin",
            "interactiveMode": "IfAvailable",
            "installHint": "Ask your admin for it.",
        }}),
    );
    let mut old = plugin.clone();
    old["exec"]["apiVersion"] = "client.authentication.k8s.io/v1beta1".into();
    let mut modeless = plugin.clone();
    modeless["exec"].as_object_mut().expect("an object").remove("interactiveMode");
    let mut terminal = plugin.clone();
    terminal["exec"]["interactiveMode"] = "Always".into();
    let expiring = json!({"token": token("alice"), "expirationTimestamp": "2100-01-01T00:00:00Z"});
    let case = |name, user: Value, expect| files.case(name, &cluster, &user, expect);
    let rejected = "does not accept the credentials";
    vec![
        case("token", alice(), Works),
        case("unknown-token", json!({"token": "expired"}), Fails(rejected)),
        case("no-user", json!({}), Fails(r#"User "system:anonymous" cannot"#)),
        case("without-permission", json!({"token": token("erin-who-does-not-exist")}), Fails(rejected)),
        case("token-file", json!({"tokenFile": token_file}), Works),
        case("relative-token-file", json!({"tokenFile": "alice.token"}), Works),
        case("token-file-wins", json!({"tokenFile": token_file, "token": "expired"}), Works),
        case("no-token-file", json!({"tokenFile": "absent"}), Fails("absent cannot be read")),
        case("broken-token", json!({"token": "a\nb"}), Fails("the token is not valid")),
        case(
            "token-and-password",
            merged(alice(), json!({"username": "a"})),
            Fails("a token and a username"),
        ),
        case(
            "certificate-files",
            json!({"client-certificate": identity("alice.crt"), "client-key": identity("alice.key")}),
            Works,
        ),
        case(
            "certificate-data",
            json!({"client-certificate-data": data("alice.crt"), "client-key-data": data("alice.key")}),
            Works,
        ),
        case("certificate-only", json!({"client-certificate-data": data("alice.crt")}), Fails("client-key")),
        case(
            "foreign-certificate",
            json!({
                "client-certificate-data": STANDARD.encode(&other.certificate),
                "client-key-data": STANDARD.encode(&other.key),
            }),
            Fails(rejected),
        ),
        case(
            "another-key",
            json!({
                "client-certificate-data": data("alice.crt"),
                "client-key-data": STANDARD.encode(&other.key),
            }),
            Fails("the client key cannot be used"),
        ),
        case("plugin", plugin, Works),
        case("plugin-v1beta1", old, Fails("and the kubeconfig expects ExecCredential of")),
        case("plugin-without-mode", modeless, Fails("has no interactiveMode")),
        case("plugin-for-a-terminal", terminal, Fails("needs a terminal")),
        case("absent-plugin", absent, Fails("is not installed: Ask your admin for it.")),
        case("failing-plugin", files.plugin("fails.sh", "exit 4"), Fails("failed with exit status: 4")),
        case(
            "chatty-plugin",
            files.plugin("chatty.sh", "echo hello"),
            Fails("did not return an ExecCredential"),
        ),
        case("plugin-with-a-certificate", files.plugin("certificate.sh", &credential(&of_plugin)), Works),
        case("plugin-that-expires", files.plugin("expires.sh", &credential(&expiring)), Works),
        case(
            "plugin-with-a-wrong-token",
            files.plugin("wrong.sh", &credential(&json!({"token": "expired"}))),
            Fails(rejected),
        ),
        case(
            "impersonation",
            json!({"token": token("admin"), "as": "a", "as-groups": ["crm-editors"]}),
            Works,
        ),
        case("impersonated-group", json!({"token": token("admin"), "as-groups": ["a"]}), Fails("without as")),
        case("auth-provider", json!({"auth-provider": {"name": "gcp"}}), Fails("is not supported")),
    ]
}

/// How a cluster is reached.
fn servers(files: &Files<'_>, relays: &Relays) -> Vec<Case> {
    let other = Authority::create("of another cluster").pem;
    let server = |url: String| json!({"server": url});
    let data = STANDARD.encode(files.plane.ca());
    let inline = json!({"certificate-authority": null, "certificate-authority-data": data});
    let case =
        |name, settings: Value, expect| files.case(name, &files.cluster_with(settings), &alice(), expect);
    let mut cases = vec![
        case("authority-data", inline, Works),
        case(
            "another-authority",
            json!({"certificate-authority": files.write("other.crt", &other)}),
            Fails("is not from a trusted CA"),
        ),
        case(
            "absent-authority",
            json!({"certificate-authority": "absent.crt"}),
            Fails("absent.crt cannot be read"),
        ),
        case(
            "empty-authority",
            json!({"certificate-authority": files.write("empty.crt", "")}),
            Fails("contains no certificate"),
        ),
        case(
            "authority-of-this-machine",
            json!({"certificate-authority": null}),
            Fails("is not from a trusted CA"),
        ),
        case("name", server(format!("https://localhost:{}", files.port)), Works),
        case("server-name", json!({"tls-server-name": "localhost"}), Works),
        case(
            "wrong-server-name",
            json!({"tls-server-name": "api.example"}),
            Fails("and not for api.example; check server and tls-server-name"),
        ),
        case("insecure", json!({"certificate-authority": null, "insecure-skip-tls-verify": true}), Works),
        case("insecure-with-authority", json!({"insecure-skip-tls-verify": true}), Fails("both set")),
        case("path", server(format!("https://127.0.0.1:{}/absent", files.port)), Fails("denies the request")),
        case("no-scheme", server(relays.plain.url().replacen("http://", "", 1)), Works),
        case(
            "no-scheme-but-tls",
            server(format!("127.0.0.1:{}", files.port)),
            Fails("HTTP request to an HTTPS server"),
        ),
        case("http", server(relays.plain.url()), Works),
        case(
            "tls-but-http",
            server(relays.plain.url().replacen("http", "https", 1)),
            Fails("does not use TLS"),
        ),
        case("path-behind-a-proxy", server(format!("{}/k8s/clusters/c-1", relays.plain.url())), Works),
        case("no-server", json!({"server": ""}), Fails("has no server")),
        case("another-scheme", server("ftp://127.0.0.1".to_owned()), Fails("is not http or https")),
        case("nobody-listens", server("https://127.0.0.1:1".to_owned()), Fails("Connection refused")),
    ];
    if let Some(relay) = &relays.six {
        let address = relay.address();
        cases.push(case("ipv6", json!({"server": format!("https://{address}")}), Works));
    }
    cases
}

/// Where the kubeconfig comes from.
fn several_files(files: &Files<'_>) -> Vec<Case> {
    let path = |path: &Path| path.display().to_string();
    let absent = path(&files.directory.join("absent"));
    let works = path(&files.config("one-that-works", &files.cluster(), &alice()));
    let broken = files.cluster_with(json!({"server": "https://127.0.0.1:1"}));
    let fails = path(&files.config("one-that-fails", &broken, &alice()));
    let garbage = path(&files.write("garbage", "users: [{name: a, user: {token: [not-a-token]}}]"));
    let mut headless = content("headless", &files.cluster(), &alice());
    headless.as_object_mut().expect("an object").remove("current-context");
    let headless = path(&files.write("headless", &headless.to_string()));
    let mut dangling = content("dangling", &files.cluster(), &alice());
    dangling["contexts"][0]["context"]["cluster"] = "absent-cluster".into();
    let dangling = path(&files.write("dangling", &dangling.to_string()));
    let case = |name, list: &[&String], args: &[&str], expect, names: &str| Case {
        name,
        list: Some(list.iter().map(|path| path.as_str()).collect::<Vec<_>>().join(":")),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        variables: vec![],
        expect,
        names: names.to_owned(),
    };
    let none = String::new();
    vec![
        case("missing-first", &[&absent, &works], &[], Works, ""),
        case("first-wins", &[&works, &fails], &[], Works, ""),
        case("first-wins-2", &[&fails, &works], &[], Fails("Connection refused"), "one-that-fails"),
        case("context", &[&fails, &works], &["--context", "of-one-that-works"], Works, ""),
        case("unknown-context", &[&works], &["--context", "absent"], Fails("there is no context"), &works),
        case("all-missing", &[&absent], &[], Fails("no cluster: there is no kubeconfig"), &absent),
        case("empty-entries", &[&none, &works, &none], &[], Works, ""),
        case("empty-list", &[&none, &none], &[], Fails("no cluster: there is no kubeconfig"), "KUBECONFIG"),
        case("garbage", &[&garbage, &works], &[], Fails("cannot be read"), &garbage),
        case("no-current-context", &[&headless], &[], Fails("sets no current-context"), &headless),
        case("given-context", &[&headless], &["--context", "headless"], Works, ""),
        case("absent-cluster", &[&dangling], &[], Fails("there is no cluster"), &dangling),
        case("flag", &[&fails], &["--kubeconfig", &works], Works, ""),
        case("empty-flags", &[&works], &["--kubeconfig", "", "--context", ""], Works, ""),
        case("absent-flag", &[&works], &["--kubeconfig", &absent], Fails("cannot be read"), &absent),
        Case {
            list: None,
            ..case("home", &[], &[], Fails("no cluster: there is no kubeconfig"), ".kube/config")
        },
    ]
}

/// Relays and proxies that lead to the API server.
struct Relays {
    plain: Proxy,
    web: Relay,
    secret: Relay,
    socks: Relay,
    /// A proxy that must not be used.
    unused: Relay,
    six: Option<Relay>,
}

impl Relays {
    fn start(files: &Files<'_>) -> Self {
        let four = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let relay = |greeting| Relay::start(four, greeting, files.port).expect("a relay");
        Self {
            plain: Proxy::start(files.plane, "alice"),
            web: relay(Greeting::Connect),
            // user:p@ss
            secret: relay(Greeting::ConnectAs("Basic dXNlcjpwQHNz")),
            socks: relay(Greeting::Socks),
            unused: relay(Greeting::Connect),
            // Some machines have no IPv6.
            six: Relay::start(IpAddr::V6(Ipv6Addr::LOCALHOST), Greeting::None, files.port).ok(),
        }
    }
}

/// Which proxy is used.
fn proxies(files: &Files<'_>, relays: &Relays) -> Vec<Case> {
    let url = |scheme: &str, relay: &Relay| format!("{scheme}://{}", relay.address());
    let unused = url("http", &relays.unused);
    let hidden =
        || files.cluster_with(json!({"server": format!("https://{HIDDEN}"), "tls-server-name": "localhost"}));
    let through = |name, proxy: &str, variables: &[(&'static str, &str)], expect| {
        let cluster = merged(hidden(), json!({"proxy-url": proxy}));
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Case { variables, ..files.case(name, &cluster, &alice(), expect) }
    };
    let with = |name, cluster: &Value, variables: &[(&'static str, &str)], expect| {
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Case { variables, ..files.case(name, cluster, &alice(), expect) }
    };
    let (web, socks) = (url("http", &relays.web), url("socks5", &relays.socks));
    let bare = relays.web.address().to_string();
    let secret = format!("http://user:p%40ss@{}", relays.secret.address());
    let closed = url("http", &relays.secret);
    let unreachable = Fails("cannot be reached");
    vec![
        through("proxy-url", &web, &[], Works),
        through("proxy-url-socks", &socks, &[], Works),
        through("proxy-url-wins", &web, &[("HTTPS_PROXY", &unused), ("NO_PROXY", "*")], Works),
        through("proxy-with-a-password", &secret, &[], Works),
        through("proxy-without-a-password", &closed, &[], Fails("the proxy asks for a user and a password")),
        through("proxy-without-a-scheme", &bare, &[], Fails("proxy-url")),
        through(
            "proxy-of-another-scheme",
            "ftp://127.0.0.1",
            &[],
            Fails("other than http, https and socks5"),
        ),
        through("absent-proxy", "http://127.0.0.1:1", &[], Fails("the proxy cannot be used")),
        with("hidden", &hidden(), &[], unreachable),
        with("variable", &hidden(), &[("HTTPS_PROXY", &web)], Works),
        with("lower-case", &hidden(), &[("https_proxy", &web), ("HTTPS_PROXY", "")], Works),
        with("variable-without-a-scheme", &hidden(), &[("HTTPS_PROXY", &bare)], Works),
        with("variable-socks", &hidden(), &[("HTTPS_PROXY", &socks)], Works),
        with("http-variable", &hidden(), &[("HTTP_PROXY", &unused)], unreachable),
        with("no-proxy", &hidden(), &[("HTTPS_PROXY", &unused), ("NO_PROXY", HIDDEN)], unreachable),
        with(
            "no-proxy-suffix",
            &hidden(),
            &[("HTTPS_PROXY", &unused), ("no_proxy", "a,,.invalid")],
            unreachable,
        ),
        with("no-proxy-all", &hidden(), &[("HTTPS_PROXY", &unused), ("NO_PROXY", "*")], unreachable),
        with(
            "no-proxy-of-another-port",
            &hidden(),
            &[("HTTPS_PROXY", &web), ("NO_PROXY", "invalid:1")],
            Works,
        ),
        with("loopback", &files.cluster(), &[("HTTPS_PROXY", &unused)], Works),
    ]
}

/// What is wrong in a case: they differ, or our message does.
fn difference(plane: &ControlPlane, directory: &Path, case: &Case) -> Option<String> {
    let home = plane.workspace().file("homes", "of-kubeconfigs");
    let kubectl = plane.kubectl("alice");
    let theirs =
        run(kubectl.program(), directory, &home, case, &["--request-timeout=60s", "get", "companies"]);
    // A missing company is an answer, too, with code 1.
    let ours = run(&webhook::product(), directory, &home, case, &["refs", "company", "of-no-kubeconfig"]);
    let text = String::from_utf8_lossy(&ours.stderr);
    let works = matches!(ours.status.code(), Some(0 | 1));
    let is_plain = !RUST.iter().any(|rust| text.contains(rust));
    let is_expected = match case.expect {
        Works => works && theirs.status.success(),
        Fails(why) => !works && !theirs.status.success() && text.contains(why) && text.contains(&case.names),
    };
    let told = || {
        let theirs_text = String::from_utf8_lossy(&theirs.stderr);
        format!(
            "{}: expected {:?}\n  kubectl {}: {theirs_text}\n  ours {}: {text}",
            case.name, case.expect, theirs.status, ours.status
        )
    };
    (!(is_expected && is_plain)).then(told)
}

fn run(program: &Path, directory: &Path, home: &Path, case: &Case, args: &[&str]) -> Output {
    let mut command = Command::new(program);
    process::clear_environment(&mut command);
    if let Some(list) = &case.list {
        command.env("KUBECONFIG", list);
    }
    command
        .env("HOME", home)
        .envs(case.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .args(args)
        .args(&case.args)
        .stdin(Stdio::null())
        .output()
        .expect("a program that starts")
}

#[test]
fn a_webhook_whose_token_is_not_accepted_says_so_in_plain_words() {
    let stage = stage::shared();
    let files = Files::new(&stage.plane);
    let kubeconfig = files.config("of-serve", &files.cluster(), &json!({"token": "expired"}));
    let workspace = stage.plane.workspace();
    let log = Log::new(workspace.file("logs", "serve-with-an-expired-token.log"));
    let (mut serve, port) = net::on_free_ports(|ports| {
        let [listen, admin] = ports.map(|port| format!("127.0.0.1:{port}"));
        let mut command = Process::command(webhook::product());
        command
            .args(["serve", "--directory", "cluster", "--listen", &listen, "--admin-listen", &admin])
            .arg("--tls-dev")
            .arg(workspace.file("serve-with-an-expired-token", ""))
            .env("KUBECONFIG", &kubeconfig);
        let mut serve = Process::start("serve", command, &log);
        let asked = ports[1];
        serve.ready(Duration::from_secs(60), || match net::get(asked, "/readyz") {
            Ok((_, body)) if body.contains("status 401") => Ok(()),
            other => Err(format!("{other:?}")),
        })?;
        Ok((serve, asked))
    });
    let (_, readiness) = net::get(port, "/readyz").expect("an answer");
    serve.signal("TERM");
    serve.wait(Duration::from_secs(60));
    let lines = std::fs::read_to_string(log.path()).expect("a log");
    assert!(lines.contains("does not accept the credentials"), "{lines}");
    for text in [readiness, lines] {
        assert!(!RUST.iter().any(|rust| text.contains(rust)), "{text}");
    }
}

#[test]
fn every_command_that_asks_a_cluster_has_the_flags_of_kubectl() {
    let stage = stage::shared();
    let plane = &stage.plane;
    let file = plane.kubeconfig("admin").display().to_string();
    let commands: [&[&str]; 5] = [
        &["check", "--cluster", "-f", "-"],
        &["audit", "--summary"],
        &["refs", "company", "of-no-kubeconfig"],
        &["doctor"],
        &["certs", "show"],
    ];
    for args in commands {
        let run = |more: &[&str]| {
            let mut command = Command::new(webhook::product());
            process::clear_environment(&mut command);
            let note = "apiVersion: crm.milo.io/v1alpha1\nkind: Note\nmetadata: {name: of-no-kubeconfig}\n\
                        spec: {text: a, subjectRef: {apiVersion: crm.milo.io/v1alpha1, kind: Company, name: a}}\n";
            let mut child = command
                .args(args)
                .args(more)
                .env("KUBECONFIG", "/absent")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("a program that starts");
            // A command may exit before it has read it.
            let _ = std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), note.as_bytes());
            child.wait_with_output().expect("the end of it")
        };
        let given = run(&["--kubeconfig", &file, "--context", "test"]);
        assert!(matches!(given.status.code(), Some(0 | 1)), "{args:?}: {given:?}");
        let absent = run(&["--kubeconfig", &file, "--context", "absent"]);
        let text = String::from_utf8_lossy(&absent.stderr);
        assert_eq!(absent.status.code(), Some(2), "{args:?}: {text}");
        assert!(text.contains(&file) && text.contains("there is no context \"absent\""), "{args:?}: {text}");
        let none = run(&[]);
        assert_eq!(none.status.code(), Some(2), "{args:?}: {none:?}");
    }
}
