//! A cable between an engine and the broker, which tests can pull: while it is pulled nothing gets through in
//! either direction and nobody is told, as on a network that has gone.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wayfare_link::BrokerUrl;

const PIECE_BYTES: usize = 16 * 1024;

#[derive(Debug)]
pub struct Cable {
    address: SocketAddr,
    is_whole: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Cable {
    pub(crate) async fn to(broker: &BrokerUrl) -> Self {
        let target = (broker.host().to_owned(), broker.port());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (is_whole, state) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (target, mut state) = (target.clone(), state.clone());
                tokio::spawn(async move {
                    // A connection that is begun while the cable is pulled gets nowhere until it is whole
                    // again.
                    if state.wait_for(|is_whole| *is_whole).await.is_err() {
                        return;
                    }
                    let Ok(far) = TcpStream::connect(target).await else {
                        return;
                    };
                    let (near_in, near_out) = near.into_split();
                    let (far_in, far_out) = far.into_split();
                    tokio::join!(
                        carry(near_in, far_out, state.clone()),
                        carry(far_in, near_out, state)
                    );
                });
            }
        });
        Self {
            address,
            is_whole,
            accepting,
        }
    }

    pub(crate) fn url(&self) -> BrokerUrl {
        self.address.into()
    }

    pub fn pull(&self) {
        self.is_whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.is_whole.send_replace(true);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// One direction. What is read while the cable is pulled waits, as in a sender's buffers.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<bool>) {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let Ok(bytes @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let whole = state.wait_for(|is_whole| *is_whole).await.is_ok();
        if !whole || to.write_all(&piece[..bytes]).await.is_err() {
            return;
        }
    }
}
