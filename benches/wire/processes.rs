//! Starts upstream, relay and authbridge as processes of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use authbridge::tls::ClientTls;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::driver::Way;
use crate::upstream;

/// Modes of the spool, the default one last.
const MODES: [&str; 3] = ["off", "always", "fallback"];

/// Everything that runs, ended on drop.
pub struct Bench {
    /// Past authbridge: direct, relay.
    pub ways: [Way; 2],
    /// Through authbridge as it is when nobody configures a spool.
    pub authbridge: Way,
    /// Through one for each mode of the spool, by its name.
    pub spooled: Vec<(&'static str, Way)>,
    process: u32,
    children: Vec<Child>,
    _folder: TempDir,
}

impl Drop for Bench {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Bench {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let certificates = folder.path().join("certs");
        let (upstream, addresses) = spawn(Command::new(&own).arg("upstream").arg(&certificates), 4);
        let ca = certificates.join("cert.pem");
        let mut relay = Command::new(&own);
        relay.arg("relay").arg(&ca).args(addresses[..3].iter().map(ToString::to_string));
        let (relay, relayed) = spawn(&mut relay, 3);
        let way = |at: &[SocketAddr], tls, password| Way {
            smtp: at[0],
            imap: at[1],
            pop3: at[2],
            tls,
            password,
        };
        let ways = [
            way(&addresses, Some(ClientTls::new(Some(&ca)).unwrap()), false),
            way(&relayed, None, false),
        ];
        let mut children = vec![relay, upstream];
        let mut spooled = Vec::new();
        for mode in MODES {
            let (proxy, proxied) = authbridge(folder.path(), mode, &ca, &addresses);
            spooled.push((mode, way(&proxied, None, true)));
            children.insert(0, proxy);
        }
        // The last one started.
        let (authbridge, process) = (spooled[MODES.len() - 1].1.clone(), children[0].id());
        Self { ways, authbridge, spooled, process, children, _folder: folder }
    }

    /// Resident memory of authbridge, in KiB (proc(5), VmRSS).
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// Starts a process that prints `count` addresses first.
fn spawn(command: &mut Command, count: usize) -> (Child, Vec<SocketAddr>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let addresses = lines.take(count).map(|line| line.unwrap().parse().unwrap()).collect();
    (child, addresses)
}

fn authbridge(
    folder: &Path,
    mode: &str,
    ca: &Path,
    upstream: &[SocketAddr],
) -> (Child, Vec<SocketAddr>) {
    let folder = folder.join(mode);
    std::fs::create_dir(&folder).unwrap();
    let key = folder.join("service-account.json");
    let token_url = format!("https://localhost:{}/token", upstream[3].port());
    let service_account = serde_json::json!({
        "type": "service_account",
        "client_email": "bench@example.iam.gserviceaccount.com",
        "private_key": authbridge::sandbox::keys::GOOGLE_KEY_PEM,
        "token_uri": token_url,
    });
    std::fs::write(&key, service_account.to_string()).unwrap();
    let google = format!(
        "AuthType = \"GoogleOAuth2\"\n\
         GoogleOAuth2.CertificatePath = '{}'\n\
         GoogleOAuth2.ServiceAccount = \"bench@example.iam.gserviceaccount.com\"\n\
         GoogleOAuth2.GsuiteUser = \"a@example.com\"\n\
         GoogleOAuth2.TokenUrl = \"{token_url}\"\n",
        key.display()
    );
    let receiving = |name: &str, port: u16| {
        format!(
            "[{name}]\nServer = \"localhost:{port}\"\nUseSSL = true\nTlsMode = \"Implicit\"\n{google}"
        )
    };
    let configuration = format!(
        "Proxy.StateDirectory = '{state}'\n\
         Proxy.Listen.Smtp = \"127.0.0.1:0\"\nProxy.Listen.Imap = \"127.0.0.1:0\"\n\
         Proxy.Listen.Pop3 = \"127.0.0.1:0\"\nProxy.Admin.Listen = \"\"\n\
         Proxy.Upstream.CaPath = '{ca}'\nProxy.Spool.Mode = \"{mode}\"\nProxy.Log.Level = \"error\"\n\
         Proxy.Limits.MaxConnectionsPerAddress = 10000\n\
         Proxy.Client.bench.Password = \"bench-password\"\n\
         Proxy.Client.bench.Receiving = \"Mail.Receiving\"\n\
         Proxy.Client.popper.Password = \"bench-password\"\n\
         Proxy.Client.popper.Receiving = \"App.pop.Mail.Receiving\"\n\
         Mail.Sending.ServerType = \"Smtp\"\n\
         Mail.Receiving.ServerType = \"IMAP\"\n\
         App.pop.Mail.Receiving.ServerType = \"POP3\"\n\
         [Mail.Sending.Smtp]\nServer = \"localhost:{smtp}\"\nNumberOfMessagesPerSession = 1000000\n\
         UseAuth = true\nUseSsl = true\nTlsMode = \"Implicit\"\n{google}\n{imap}\n{pop3}",
        state = folder.join("state").display(),
        ca = ca.display(),
        smtp = upstream[0].port(),
        imap = receiving("Mail.Receiving.Imap", upstream[1].port()),
        pop3 = receiving("App.pop.Mail.Receiving.Pop3", upstream[2].port()),
    );
    let file = folder.join("proxy.toml");
    std::fs::write(&file, configuration).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_authbridge"))
        .args(["run", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let addresses: Vec<SocketAddr> = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap)
        .take_while(|line| line != "ready")
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .collect();
    assert_eq!(addresses.len(), 3, "authbridge printed other listeners than SMTP, IMAP, POP3");
    (child, addresses)
}

/// The relay process: one listener for each address given.
pub async fn relay(ca: &str, targets: &[String]) {
    let tls = ClientTls::new(Some(Path::new(ca))).unwrap();
    let mut listeners = Vec::new();
    for target in targets {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        listeners.push((listener, target.parse::<SocketAddr>().unwrap()));
    }
    std::io::stdout().flush().unwrap();
    for (listener, target) in listeners {
        let tls = tls.clone();
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                tokio::spawn(upstream::copy(stream, target, tls.clone()));
            }
        });
    }
    std::future::pending::<()>().await;
}
