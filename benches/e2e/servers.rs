//! All that can be started here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::process::{OTHERS, Running, SERVER, find, folder, free, start as run};
use crate::{Failure, install};

/// What is started from this workspace.
pub(crate) const OURS: [&str; 6] = [
    "hyper",
    "all layers",
    "gateway",
    "gateway, circuit",
    "gateway, open",
    "storefront",
];

/// How many seconds npm may take.
const NPM: &str = "120";

/// Those that run, by name. The origin is not asked directly, and goes last.
#[derive(Debug)]
pub(crate) struct Servers {
    running: HashMap<&'static str, Running>,
    _behind: Vec<Running>,
    /// What could not be started, and why.
    pub(crate) missing: Vec<String>,
}

impl Servers {
    pub(crate) fn address(&self, name: &str) -> Option<SocketAddr> {
        self.running.get(name).map(|server| server.address)
    }

    fn add(&mut self, name: &'static str, server: Result<Running, Failure>) {
        match server {
            Ok(server) => drop(self.running.insert(name, server)),
            Err(why) => self.missing.push(format!("{name}: {why}")),
        }
    }
}

pub(crate) fn start() -> Result<Servers, Failure> {
    build_examples()?;
    let origin = itself(OTHERS, "bare")?;
    let at = origin.address;
    let mut servers = Servers {
        running: HashMap::new(),
        _behind: vec![origin],
        missing: Vec::new(),
    };
    servers.add("hyper", itself(SERVER, "bare"));
    servers.add("all layers", itself(SERVER, "stack"));
    servers.add("gateway", gateway(at, &[]));
    servers.add("gateway, circuit", gateway(at, &["--only", "circuit"]));
    // The discard port: nobody listens.
    let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
    servers.add("gateway, open", gateway(nobody, &["--only", "circuit"]));
    servers.add("storefront", storefront());
    servers.add("nginx", nginx(at));
    servers.add("varnish", varnish(at));
    let redis = redis();
    servers.add("express", express(at, redis.as_ref().ok()));
    match redis {
        Ok(redis) => servers._behind.push(redis),
        Err(why) => servers.missing.push(format!("redis: {why}")),
    }
    Ok(servers)
}

fn build_examples() -> Result<(), Failure> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "--profile", "bench", "-p", "examples"])
        .args(["--bin", "gateway", "--bin", "storefront"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if build.status()?.success() {
        return Ok(());
    }
    Err("the examples were not built".into())
}

/// This program, as something else.
fn itself(core: usize, role: &str) -> Result<Running, Failure> {
    let address = free()?;
    let mut command = Command::new(env::current_exe()?);
    run(core, address, command.args([role, &address.to_string()]))
}

fn example(name: &str) -> Result<(Command, SocketAddr), Failure> {
    let mut command = Command::new(env::current_exe()?.with_file_name(name));
    let address = free()?;
    command.args(["--quiet", "--listen", &address.to_string()]);
    Ok((command, address))
}

fn gateway(upstream: SocketAddr, more: &[&str]) -> Result<Running, Failure> {
    let (mut command, address) = example("gateway")?;
    let upstream = format!("http://{upstream}");
    command.args(["--threads", "1", "--upstream", &upstream]);
    run(SERVER, address, command.args(more))
}

fn storefront() -> Result<Running, Failure> {
    let (mut command, address) = example("storefront")?;
    // Whoever asks is one caller, who may ask as often as can be answered.
    command.args(["--rate", "1000000", "--burst", "1000000"]);
    run(SERVER, address, &mut command)
}

/// Its configuration, with what is known only now.
fn configuration(file: &str, words: &[(&str, &str)]) -> Result<PathBuf, Failure> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/conf");
    let mut text = fs::read_to_string(here.join(file))?;
    for (word, value) in words {
        text = text.replace(word, value);
    }
    let written = folder()?.join(file);
    fs::write(&written, text)?;
    Ok(written)
}

fn installed(program: &str) -> Result<PathBuf, Failure> {
    let package = install::package(program);
    let missing = || format!("not installed (on Debian: apt-get install {package})").into();
    find(program).ok_or_else(missing)
}

fn nginx(origin: SocketAddr) -> Result<Running, Failure> {
    let (program, address) = (installed("nginx")?, free()?);
    let files = folder()?.join("nginx");
    let _ = fs::remove_dir_all(&files);
    fs::create_dir_all(&files)?;
    // Started by root, its worker would be somebody who may not write there.
    let is_root = fs::metadata("/proc/self")?.uid() == 0;
    let configuration = configuration(
        "nginx.conf",
        &[
            ("{user}", if is_root { "user root;" } else { "" }),
            ("{folder}", &files.to_string_lossy()),
            ("{origin}", &origin.to_string()),
            ("{listen}", &address.to_string()),
        ],
    )?;
    let mut command = Command::new(program);
    command.arg("-p").arg(&files).arg("-c").arg(configuration);
    run(SERVER, address, &mut command)
}

fn varnish(origin: SocketAddr) -> Result<Running, Failure> {
    let (program, address) = (installed("varnishd")?, free()?);
    let port = origin.port().to_string();
    let configuration = configuration("varnish.vcl", &[("{port}", &port)])?;
    let files = folder()?.join("varnish");
    let _ = fs::remove_dir_all(&files);
    let mut command = Command::new(program);
    command
        .args(["-F", "-a", &address.to_string(), "-s", "malloc,256m"])
        .args(["-j", "none", "-T", "none", "-f"])
        .arg(configuration)
        .arg("-n")
        .arg(files);
    run(SERVER, address, &mut command)
}

fn redis() -> Result<Running, Failure> {
    let (program, address) = (installed("redis-server")?, free()?);
    let mut command = Command::new(program);
    let port = address.port().to_string();
    command.args(["--port", &port, "--bind", "127.0.0.1", "--save", ""]);
    run(OTHERS, address, &mut command)
}

/// In a folder beside, so that one that was broken off is begun again.
fn install(package: &Path, files: &Path) -> Result<(), Failure> {
    let (fresh, modules) = (files.join("fresh"), files.join("node_modules"));
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    fs::copy(package, fresh.join("package.json"))?;
    let mut npm = Command::new(installed("timeout")?);
    npm.arg(NPM).arg(installed("npm")?);
    npm.args(["install", "--no-audit", "--no-fund", "--silent"]);
    if !npm.current_dir(&fresh).status()?.success() {
        return Err("npm has not installed its modules".into());
    }
    let _ = fs::remove_dir_all(&modules);
    Ok(fs::rename(fresh.join("node_modules"), modules)?)
}

/// Its modules come from npm, when what they are to be has changed.
fn express(origin: SocketAddr, redis: Option<&Running>) -> Result<Running, Failure> {
    let (node, address) = (installed("node")?, free()?);
    let files = folder()?.join("node");
    fs::create_dir_all(&files)?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/node");
    fs::copy(here.join("server.js"), files.join("server.js"))?;
    let (wanted, known) = (here.join("package.json"), files.join("installed.json"));
    let is_known = fs::read(&wanted)? == fs::read(&known).unwrap_or_default();
    if !is_known || !files.join("node_modules").exists() {
        install(&wanted, &files)?;
        // Last, for it says that they are there.
        fs::copy(wanted, known)?;
    }
    let mut command = Command::new(node);
    let ports = [
        Some(address),
        Some(origin),
        redis.map(|redis| redis.address),
    ];
    let ports = ports.into_iter().flatten();
    command
        .arg("server.js")
        .args(ports.map(|at| at.port().to_string()))
        .env("NODE_ENV", "production")
        .current_dir(files);
    run(SERVER, address, &mut command)
}
