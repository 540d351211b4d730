//! Both services, each on a port of its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use examples::connections::Connections;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::orders::{self, Orders};
use crate::records::Records;
use crate::stack::{self, Once};
use crate::stock::{self, Stock};

/// How long what outlives its call may take when the services stop.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) struct Services {
    pub(crate) orders_address: SocketAddr,
    pub(crate) stock_address: SocketAddr,
    pub(crate) stock: Arc<Stock>,
    once: [Once; 2],
    servers: [JoinHandle<()>; 2],
    stopping: CancellationToken,
}

impl Services {
    pub(crate) async fn start(listen: SocketAddr, records: &Records) -> io::Result<Self> {
        let orders_listener = TcpListener::bind(listen).await?;
        let stock_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (orders_address, stock_address) =
            (orders_listener.local_addr()?, stock_listener.local_addr()?);
        let stopping = CancellationToken::new();
        let once = [stack::once(), stack::once()];

        let stock = Arc::new(Stock::default());
        let stock_methods = stack::served(stock::methods(&stock), &once[1], records);
        let to_stock = stack::remote(stack::breaker("stock", 3), stock_address, records);
        let orders = Arc::new(Orders::new(to_stock, stopping.clone()));
        let orders_methods = stack::served(orders::methods(&orders), &once[0], records);
        let servers = [
            Connections::default().serve(orders_listener, orders_methods, &stopping),
            Connections::default().serve(stock_listener, stock_methods, &stopping),
        ];
        Ok(Self {
            orders_address,
            stock_address,
            stock,
            once,
            servers,
            stopping,
        })
    }

    /// Waits for the end of work that has lost its caller.
    pub(crate) async fn settled(&self) {
        for once in &self.once {
            once.tasks().drain().await;
        }
    }

    /// Lets calls end, and then what outlives its call.
    pub(crate) async fn stop(mut self) -> io::Result<()> {
        self.stopping.cancel();
        for server in &mut self.servers {
            server.await?;
        }
        // What is left then is left to its lease.
        let _ = tokio::time::timeout(GRACE, self.settled()).await;
        Ok(())
    }
}
