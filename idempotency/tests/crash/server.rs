//! What holds the claims.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use testkit::server::{Postgres, Redis};

use crate::plan::Plan;

pub(crate) enum Server {
    Postgres(Postgres),
    Redis(Redis),
    Sqlite,
}

/// The server of a story, and its folder.
pub(crate) struct Place {
    server: Server,
    folder: TempDir,
}

impl Place {
    pub(crate) fn new(plan: Plan) -> Self {
        let server = match plan {
            Plan::Postgres => Server::Postgres(Postgres::start().unwrap()),
            Plan::RedisReject | Plan::RedisReexecute => Server::Redis(Redis::start().unwrap()),
            Plan::Sqlite | Plan::Planted(_) => Server::Sqlite,
        };
        let folder = tempfile::tempdir().unwrap();
        let place = Self { server, folder };
        fs::write(place.effects_file(), "").unwrap();
        crate::handler::prepare(plan, &place.url());
        place
    }

    pub(crate) fn url(&self) -> String {
        match &self.server {
            Server::Postgres(postgres) => postgres.url(),
            Server::Redis(redis) => redis.url(),
            Server::Sqlite => {
                let file = self.folder.path().join("shop.db");
                file.to_str().unwrap().to_owned()
            }
        }
    }

    pub(crate) fn effects_file(&self) -> PathBuf {
        self.folder.path().join("effects")
    }

    /// Kills the server and starts it again. False if there is none.
    pub(crate) fn crash(&mut self) -> bool {
        match &mut self.server {
            Server::Postgres(postgres) => postgres.restart().unwrap(),
            Server::Redis(redis) => redis.restart().unwrap(),
            Server::Sqlite => return false,
        }
        true
    }

    /// The key of each effect there is.
    pub(crate) fn effects(&self, plan: Plan) -> Vec<String> {
        match plan {
            Plan::RedisReject | Plan::RedisReexecute => {
                let effects = fs::read_to_string(self.effects_file()).unwrap();
                effects.lines().map(str::to_owned).collect()
            }
            _ => crate::handler::effects(plan, &self.url()),
        }
    }
}
