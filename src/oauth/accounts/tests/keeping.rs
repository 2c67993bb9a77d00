//! Keeping sign-ins alive, under paused time where nothing is on the network.

use tokio_util::sync::CancellationToken;

use super::*;

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

impl World {
    /// A sign-in that was last renewed so long ago.
    async fn signed_in_before(&self, username: &str, home: &str, refresh: &str, age: Duration) {
        self.change(|entra| entra.valid.push(refresh.to_owned()));
        let tokens = self.tokens(username, home, refresh);
        let then = SystemTime::now() - age;
        let put = self.accounts.cache().update(move |document| document.put(&tokens, then));
        put.await.expect("stored");
    }

    fn kept(&self, account: Option<&str>) -> Kept {
        Kept {
            role: "Mail.Sending".to_owned(),
            app: self.app(),
            account: account.map(str::to_owned),
            service: Service::GraphSending,
        }
    }

    /// Waits until the endpoint has got so many requests; real time, so that sockets work.
    async fn until_requests(&self, count: usize) {
        while self.requests() < count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn old_sign_ins_are_renewed_within_a_minute_and_young_ones_left_alone() {
    let world = world().await;
    let day = Duration::from_secs(24 * 3600);
    world.signed_in_before(JO, "oid.tid", "r3fresh-first", WEEK + day).await;
    world.signed_in_before("al@example.com", "al.tid", "r3fresh-al", WEEK - day).await;
    tokio::time::pause();
    let stop = CancellationToken::new();
    let keeper = {
        let (accounts, stop) = (world.accounts.clone(), stop.clone());
        let kept = vec![world.kept(Some("JO@example.com")), world.kept(None)];
        tokio::spawn(async move { accounts.keep_alive(kept, stop).await })
    };
    // It begins to wait before time moves.
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::time::resume();
    world.until_requests(1).await;
    while world.refresh_token().await.as_deref() != Some("r3fresh-0") {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    keeper.await.expect("no panic");
    let received = world.fake.received();
    let [request] = received.as_slice() else { unreachable!("one request: {received:?}") };
    assert_eq!(request.form()["refresh_token"], "r3fresh-first");
    let renewed = world.status(JO).await.renewed_at.expect("known");
    assert!(renewed > SystemTime::now() - day);
}

#[tokio::test]
async fn all_accounts_of_the_application_are_kept_where_logins_name_them() {
    let world = world().await;
    world.signed_in_before(JO, "oid.tid", "r3fresh-first", 2 * WEEK).await;
    world.signed_in_before("al@example.com", "al.tid", "r3fresh-al", 2 * WEEK).await;
    let mut failing = std::collections::HashSet::new();
    world.change(|entra| entra.valid.retain(|token| token != "r3fresh-al"));
    let kept = [world.kept(None)];
    world.accounts.renew_all(&kept, &mut failing).await;
    assert_eq!(world.requests(), 2);
    assert_eq!(failing.len(), 1, "al's sign-in is dead");
    assert!(world.status("al@example.com").await.last_error.is_some());
    world.sign_in("al@example.com", "al.tid", "r3fresh-new").await;
    world.accounts.renew_all(&kept, &mut failing).await;
    assert_eq!(world.requests(), 2, "both are young now");
}

#[tokio::test]
async fn with_nothing_to_keep_or_when_stopped_it_ends() {
    let world = world().await;
    world.accounts.keep_alive(Vec::new(), CancellationToken::new()).await;
    let stop = CancellationToken::new();
    stop.cancel();
    world.accounts.keep_alive(vec![world.kept(None)], stop).await;
    assert_eq!(world.requests(), 0);
}
