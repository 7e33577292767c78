//! A PostgreSQL server for `millrace dev`, `millrace demo` and the tests.
//!
//! The server ends with this process. It is stopped when the [`Server`] is dropped. If this process ends in another way, the kernel
//! sends it a signal.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use millrace::{Error, Kind, Result};

use super::{child, ports, secret};

/// The options of a server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The data directory, which is kept between runs.
    pub directory: PathBuf,
    /// The folder of `initdb` and `postgres`; see [`find_servers`].
    pub binaries: PathBuf,
    /// Faster and not durable, for tests.
    pub fast: bool,
    /// A certificate and its key, to serve TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Further settings, as `name=value`.
    pub settings: Vec<String>,
    /// The port to listen on if it is free; any free one otherwise.
    pub port: Option<u16>,
}

impl ServerOptions {
    pub fn new(directory: impl Into<PathBuf>, binaries: impl Into<PathBuf>) -> Self {
        ServerOptions {
            directory: directory.into(),
            binaries: binaries.into(),
            fast: false,
            tls: None,
            settings: Vec::new(),
            port: None,
        }
    }
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    process: Child,
    options: ServerOptions,
    port: u16,
    password: String,
}

const OWNER: &str = "postgres";
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

impl Server {
    /// Creates the data directory unless it exists, starts the server on a free loopback port and waits until it accepts connections.
    /// Local connections need a password too.
    pub fn start(options: &ServerOptions) -> Result<Server> {
        let user = unprivileged_user()?;
        let data = options.directory.join("data");
        let password = initialise(options, &data, user)?;
        let port = ports::free(options.port)?;
        let log_path = options.directory.join("postgres.log");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .map_err(|error| failed("open the server's log", error))?;
        let log_start = log.metadata().map(|metadata| metadata.len()).unwrap_or(0);
        let mut command = server_command(options, "postgres", user);
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
        let mut settings = vec![
            "listen_addresses=127.0.0.1".to_owned(),
            "unix_socket_directories=".to_owned(),
            "max_connections=200".to_owned(),
            "max_wal_size=4GB".to_owned(),
            "shared_buffers=256MB".to_owned(),
            "timezone=UTC".to_owned(),
            "log_timezone=UTC".to_owned(),
        ];
        if options.fast {
            settings
                .extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"].map(str::to_owned));
        }
        if let Some((certificate, key)) = &options.tls {
            settings.push("ssl=on".to_owned());
            for (setting, file) in [("ssl_cert_file", certificate), ("ssl_key_file", key)] {
                // The server only accepts a key file that it owns and that no other user can read.
                let copy = options.directory.join(setting);
                std::fs::copy(file, &copy)
                    .and_then(|_| std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o600)))
                    .and_then(|()| user.map_or(Ok(()), |user| chown(&copy, Some(user.uid), Some(user.gid))))
                    .map_err(|error| failed(&format!("write the server's {}", file.display()), error))?;
                settings.push(format!("{setting}={}", copy.display()));
            }
        }
        settings.extend(options.settings.iter().cloned());
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(|error| failed("share the log", error))?)
            .stdout(log);
        let process =
            child::spawn(command, libc::SIGINT).map_err(|error| failed("start PostgreSQL", error))?;
        let mut server = Server { process, options: options.clone(), port, password };
        server.wait_until_ready(&options.binaries, &log_path, log_start)?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, binaries: &Path, log: &Path, log_start: u64) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(Error::new(
                    Kind::Config,
                    format!(
                        "PostgreSQL ({}) ended immediately ({status}); its log {}:\n{}",
                        binaries.display(),
                        log.display(),
                        tail(log, log_start)
                    ),
                ));
            }
            // The server writes this line after recovery, which may take long.
            if tail(log, log_start).contains("database system is ready to accept connections") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        Err(Error::new(
            Kind::Config,
            format!("PostgreSQL did not start within {START_TIMEOUT:?}; see {}", log.display()),
        ))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The owner's connection string for `database`.
    pub fn url(&self, database: &str) -> String {
        self.url_for(OWNER, &self.password, database)
    }

    /// Another role's connection string.
    pub fn url_for(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgresql://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts the server again at its port if it has ended by itself. A server that somebody started in its place, as
    /// `pg_ctl restart` does, is left as it is.
    ///
    /// # Errors
    /// It does not start, or another process has its port.
    pub fn restart(&mut self) -> Result<()> {
        let ended = self.process.try_wait().map_err(|error| failed("wait for PostgreSQL", error))?;
        let is_answering = || std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok();
        if ended.is_none() || is_answering() {
            return Ok(());
        }
        let server = Server::start(&ServerOptions { port: Some(self.port), ..self.options.clone() })?;
        if server.port != self.port {
            let message = format!("another process uses the port {} of the local database", self.port);
            return Err(Error::new(Kind::Transient, message));
        }
        *self = server;
        Ok(())
    }

    /// Ends every session and stops the server. Committed data is on disk.
    pub fn stop(&mut self) {
        // SIGINT is PostgreSQL's fast shutdown.
        child::stop(&mut self.process, libc::SIGINT, STOP_TIMEOUT);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The `bin` folders of all servers: the pinned ones of this checkout, those of Debian's packages, those in the `PATH`.
/// Newer versions come first within each.
pub fn find_servers(pinned: &Path) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    newest_first(pinned)
        .into_iter()
        .chain(newest_first(Path::new("/usr/lib/postgresql")))
        .chain(std::env::split_paths(&path))
        .filter(|binaries| has_server(binaries))
        .collect()
}

/// The `bin` folders of a folder that has a folder for each major version.
fn newest_first(versions: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(versions).into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort_by_key(|(version, _)| Reverse(*version));
    found.into_iter().map(|(_, binaries)| binaries).collect()
}

/// The major version of a server's binaries, as in its data's `PG_VERSION`: `15`.
pub fn major_version(binaries: &Path) -> Option<String> {
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
    let output = Command::new(binaries.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.split_whitespace().nth(2)?.split('.').next()?.to_owned())
}

fn has_server(path: &Path) -> bool {
    path.join("postgres").is_file() && path.join("initdb").is_file()
}

fn initialise(options: &ServerOptions, data: &Path, user: Option<User>) -> Result<String> {
    let password_file = options.directory.join("owner-password");
    if data.join("PG_VERSION").is_file() {
        return std::fs::read_to_string(&password_file)
            .map_err(|error| failed(&format!("read {}", password_file.display()), error));
    }
    std::fs::create_dir_all(&options.directory)
        .map_err(|error| failed(&format!("create {}", options.directory.display()), error))?;
    let password = secret::kept_in(&password_file)?;
    if let Some(user) = user {
        chown(&options.directory, Some(user.uid), Some(user.gid))
            .and_then(|()| chown(&password_file, Some(user.uid), Some(user.gid)))
            .map_err(|error| failed("change the owner of the directory to an unprivileged user", error))?;
    }
    let output = server_command(options, "initdb", user)
        .arg("-D")
        .arg(data)
        .args(["--username", OWNER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"])
        .args(if options.fast { &["--no-sync"][..] } else { &[] })
        .arg("--pwfile")
        .arg(&password_file)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed("run initdb", error))?;
    if !output.status.success() {
        return Err(Error::new(
            Kind::Config,
            format!(
                "initdb failed in {}: {}",
                options.directory.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            ),
        ));
    }
    Ok(password)
}

#[derive(Debug, Clone, Copy)]
struct User {
    uid: u32,
    gid: u32,
}

/// PostgreSQL refuses to run as root. Runs it as the user `postgres`, otherwise as `nobody`.
fn unprivileged_user() -> Result<Option<User>> {
    if !child::is_root() {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").map_err(|error| failed("read /etc/passwd", error))?;
    let find = |name: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            let uid = fields.nth(1)?.parse().ok()?;
            Some(User { uid, gid: fields.next()?.parse().ok()? })
        })
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or_else(|| {
        Error::new(
            Kind::Config,
            "PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody`; run this as another user",
        )
    })
}

fn server_command(options: &ServerOptions, program: impl AsRef<OsStr>, user: Option<User>) -> Command {
    let program = options.binaries.join(program.as_ref());
    let closed = user.is_some() && closed_to_others(&[&options.directory, &options.binaries]);
    let mut command = match user {
        // Other users cannot access a checkout below /root, so the server keeps the capability to pass through it.
        Some(user) if closed => {
            let mut command = Command::new("setpriv");
            command
                .args([format!("--reuid={}", user.uid), format!("--regid={}", user.gid)])
                .args(["--clear-groups", "--inh-caps=+dac_override", "--ambient-caps=+dac_override"])
                // initdb uses access(2) for files next to it, which otherwise ignores capabilities.
                .arg("--securebits=+no_setuid_fixup")
                // Changing the user clears the parent-death signal of `child`.
                .args(["--pdeathsig=INT", "--"])
                .arg(program);
            command
        }
        Some(user) => {
            let mut command = Command::new(program);
            command.uid(user.uid).gid(user.gid);
            command
        }
        None => Command::new(program),
    };
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
    // Packages with their own libraries have them next to `bin`.
    if let Some(prefix) =
        options.binaries.parent().map(|parent| parent.join("lib")).filter(|lib| lib.is_dir())
    {
        command.env("LD_LIBRARY_PATH", prefix);
    }
    // The unprivileged user may not have access to the current directory.
    command.current_dir("/");
    command
}

/// Whether only the owner can access a parent folder of one of `paths`.
fn closed_to_others(paths: &[&Path]) -> bool {
    paths
        .iter()
        .flat_map(|path| path.ancestors().skip(1))
        .any(|folder| std::fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o001 == 0))
}

fn tail(path: &Path, from: u64) -> String {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(from))?;
        file.read_to_string(&mut text)
    });
    if read.is_err() {
        return format!("({} cannot be read)", path.display());
    }
    text
}

fn failed(doing: &str, error: std::io::Error) -> Error {
    Error::new(Kind::Config, doing.to_owned()).with_source(error)
}
