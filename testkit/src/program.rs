//! A program of ours, started as a user starts it: listened to, told to end, or killed.
//!
//! Nothing waits for a time: a program is up when it says so, and over when it has ended. What takes longer than a minute fails.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

/// A child of the test, which is killed when this is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    greeting: Vec<String>,
    said: watch::Receiver<Vec<String>>,
}

impl Program {
    /// Starts it, and waits until it has said a line that `is_last` of its greeting. It is listened to for as long as it lives, so that a full pipe never
    /// stops it.
    ///
    /// # Panics
    ///
    /// When it does not start, or ends before that.
    pub async fn start(mut command: Command, is_last: impl Fn(&str) -> bool) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it can be started");
        let output = child.stdout.take().expect("it was asked for");
        let mut output = BufReader::new(output).lines();
        let mut greeting = Vec::new();
        while !greeting.last().is_some_and(|line: &String| is_last(line)) {
            let line = within_reason(output.next_line()).await;
            let line = line.expect("its output is text");
            greeting.push(line.expect("it greets before it ends"));
        }
        let (says, said) = watch::channel(Vec::new());
        tokio::spawn(listen(output, says));
        Self {
            child,
            greeting,
            said,
        }
    }

    /// What it said when it started, line by line.
    #[must_use]
    pub fn greeting(&self) -> &[String] {
        &self.greeting
    }

    /// What stands behind `word` in its greeting: an address, most often.
    ///
    /// # Panics
    ///
    /// When no line begins with that word.
    #[must_use]
    pub fn greeted(&self, word: &str) -> &str {
        let mut lines = self.greeting.iter();
        let rest = lines.find_map(|line| line.strip_prefix(word));
        let rest = rest.unwrap_or_else(|| panic!("no line begins with {word}"));
        rest.split_whitespace().next().unwrap_or_default()
    }

    /// The first line with these words that it says after its greeting, once it is there.
    ///
    /// # Panics
    ///
    /// When it never says them.
    pub async fn says(&self, words: &str) -> String {
        let mut said = self.said.clone();
        let find = |lines: &Vec<String>| lines.iter().find(|line| line.contains(words)).cloned();
        let is_there = said.wait_for(|lines| find(lines).is_some());
        let lines = within_reason(is_there).await;
        let lines = lines.unwrap_or_else(|_| panic!("it ended, and never said {words}"));
        find(&lines).expect("it was found just now")
    }

    /// Asks it to end, with SIGTERM.
    ///
    /// # Panics
    ///
    /// When it has ended already.
    pub fn terminate(&self) {
        let id = self.child.id().expect("it is running").to_string();
        let mut kill = std::process::Command::new("kill");
        let asked = kill.args(["-TERM", &id]).status();
        assert!(asked.is_ok_and(|status| status.success()));
    }

    /// Kills it with SIGKILL, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When it cannot be killed.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("it can be killed");
    }

    /// Waits for its end, and gives its exit code.
    ///
    /// # Panics
    ///
    /// When it does not end.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = within_reason(self.child.wait()).await;
        ended.expect("it is our child").code()
    }

    /// Whether it has not ended yet.
    ///
    /// # Panics
    ///
    /// When that cannot be known.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        let ended = self.child.try_wait();
        ended.expect("it is our child").is_none()
    }
}

async fn listen(mut output: Lines<BufReader<ChildStdout>>, says: watch::Sender<Vec<String>>) {
    while let Ok(Some(line)) = output.next_line().await {
        says.send_modify(|lines| lines.push(line));
    }
}

/// No verdict but this one depends on time.
async fn within_reason<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future)
        .await
        .expect("it happens within a minute")
}
