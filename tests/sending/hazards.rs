//! What a hostile or broken client sends: smuggled mail, bare line ends, too much, too little.

use super::client::Client;
use super::{BOB, EVE, assert_same, gmail, letter, only_delivery, started};
use crate::harness::cloud::ANNA;
use crate::harness::{have, python};

/// Ends of data that are none, each followed by a smuggled transaction.
const FALSE_ENDS: [&str; 8] =
    ["\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n. \r\n", "\r\n.\0\r\n"];

#[test]
fn no_false_end_of_data_smuggles_a_second_message() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    for (index, end) in FALSE_ENDS.iter().enumerate() {
        client.envelope(ANNA, &[BOB]);
        client.expect("DATA", "354");
        client.send(format!(
            "{}first{end}MAIL FROM:<{ANNA}>\r\nRCPT TO:<{EVE}>\r\nDATA\r\nforged\r\n.\r\n",
            letter(ANNA, BOB)
        ));
        client.expect_reply("250 2.0.0");
        // Whatever was smuggled would have replies of its own.
        client.expect("NOOP", "250 2.0.0");
        let deliveries = cloud.sandbox.deliveries();
        assert_eq!(deliveries.len(), index + 1, "{end:?}");
        assert_eq!(deliveries[index].recipient, BOB);
        let text = String::from_utf8_lossy(&deliveries[index].submitted).into_owned();
        assert!(text.ends_with("DATA\r\nforged\r\n"), "{end:?}: {text:?}");
    }
}

#[test]
fn bare_line_ends_become_crlf_and_split_nothing() {
    let (cloud, proxy) = gmail();
    let message = letter(ANNA, BOB);
    let expected = message.clone() + "one\r\n.two\r\nthree\r\n";
    let mut client = Client::logged_in(&proxy);
    client.envelope(ANNA, &[BOB]);
    client.expect("DATA", "354");
    client.send(message.replace("\r\n", "\n") + "one\n.two\rthree\r\n.\r\n");
    client.expect_reply("250 2.0.0");
    assert_same(&only_delivery(&cloud).submitted, expected.as_bytes());

    let chunk = message.replace("\r\n", "\n") + "one\n.two\rthree\n";
    client.envelope(ANNA, &[BOB]);
    client.send(format!("BDAT {} LAST\r\n{chunk}", chunk.len()));
    client.expect_reply("250 2.0.0");
    assert_same(&cloud.sandbox.deliveries()[1].submitted, expected.as_bytes());
}

#[test]
fn a_message_above_the_limit_is_refused_declared_or_not() {
    let (cloud, proxy) = started(|cloud| {
        cloud.gmail_smtp("Mail.Sending", "key.json") + "Proxy.Limits.MaxMessageBytes = '1 MiB'\n"
    });
    let mut client = Client::connect(&proxy);
    let offered = client.expect("EHLO client.example", "250-");
    assert!(offered.contains("SIZE 1048576"), "{offered}");
    client.expect(&super::client::plain("app", "local-password"), "235");
    client.expect(&format!("MAIL FROM:<{ANNA}> SIZE=1048577"), "552 5.3.4");
    client.expect(&format!("MAIL FROM:<{ANNA}> SIZE=1048576"), "250");
    client.expect("RSET", "250");

    let fits = letter(ANNA, BOB);
    let large = fits.clone() + &"y".repeat(70).repeat((1 << 20) / 70) + "\r\n.\r\n";
    client.envelope(ANNA, &[BOB]);
    client.expect("DATA", "354");
    client.send(large.replace("yyyyyyyyyy", "yyyyyyyy\r\n"));
    client.expect_reply("552 5.3.4");
    client.envelope(ANNA, &[BOB]);
    let (half, last) = (vec![b'z'; 600_000], "LAST");
    client.send(format!("BDAT {}\r\n", half.len()));
    client.send(&half);
    client.expect_reply("250");
    client.send(format!("BDAT {} {last}\r\n", half.len()));
    client.send(&half);
    client.expect_reply("552 5.3.4");
    assert!(cloud.sandbox.deliveries().is_empty());

    // The session is still in step.
    client.sends(ANNA, &[BOB], &fits);
    assert_same(&only_delivery(&cloud).submitted, fits.as_bytes());
}

#[test]
fn broken_envelopes_are_refused_and_the_session_goes_on() {
    let (cloud, proxy) = gmail();
    let mut client = Client::logged_in(&proxy);
    for (command, code) in [
        ("MAIL FROM:<a@b>\0<c@d>", "50"),
        ("MAIL FROM:a b", "5"),
        ("MAIL FROM:<anna@workspace.example", "50"),
        ("MAIL FROM:<anna@workspace.example> NONSENSE=1", "555"),
        ("RCPT TO:<bob@elsewhere.example>", "503"),
        ("DATA", "503"),
        ("BDAT 0 LAST", "503"),
        ("AUTH PLAIN AGFwcABsb2NhbC1wYXNzd29yZA==", "503"),
    ] {
        client.expect(command, code);
    }
    client.expect(&format!("MAIL FROM: <{ANNA}>"), "250");
    client.expect("DATA", "503");
    for bad in ["RCPT TO:<>", "RCPT TO:<bob>x", "RCPT TO:<bob@elsewhere.example> NONSENSE=1"] {
        client.expect(bad, "5");
    }
    client.expect("DATA", "50");
    client.expect("RCPT TO:<bob@elsewhere.example>", "250");
    let reply = client.data(letter(ANNA, BOB));
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(only_delivery(&cloud).recipient, BOB);
}

#[test]
fn half_a_message_is_never_delivered() {
    let (cloud, proxy) = gmail();
    let message = letter(ANNA, BOB);
    for chunked in [false, true] {
        let mut client = Client::logged_in(&proxy);
        client.envelope(ANNA, &[BOB]);
        match chunked {
            false => {
                client.expect("DATA", "354");
                client.send(message.clone() + "the half\r\n.");
            }
            true => {
                client.send(format!("BDAT {}\r\n{message}", message.len()));
                client.expect_reply("250");
                client.send("BDAT 100 LAST\r\nthe half");
            }
        }
        drop(client);
    }
    // The next message is a fence: what came before it would be there by then.
    crate::harness::wait_until("both sessions to end", || {
        proxy.log().matches("closed reason=").count() >= 2
    });
    Client::logged_in(&proxy).sends(ANNA, &[EVE], &message);
    assert_eq!(only_delivery(&cloud).recipient, EVE);
}

#[test]
fn a_nul_in_the_header_is_refused() {
    let (cloud, proxy) = gmail();
    let message = letter(ANNA, BOB).replace("hello", "hel\0lo");
    let reply = Client::logged_in(&proxy).mail(ANNA, &[BOB], message);
    assert!(reply.starts_with("550 5.6.0"), "{reply}");
    assert!(cloud.sandbox.deliveries().is_empty());
}

/// Commands behind STARTTLS in one segment, then TLS: the first reply inside must be EHLO's.
const PIPED: &str = r"
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
plain = socket.create_connection(('localhost', int(sys.argv[1])), timeout=30)
def line(stream):
    text = b''
    while not text.endswith(b'\n'):
        octet = stream.recv(1)
        assert octet, text
        text += octet
    return text
assert line(plain).startswith(b'220')
plain.sendall(b'STARTTLS\r\nNOOP\r\nMAIL FROM:<forged@x.example>\r\n')
assert line(plain).startswith(b'220')
tls = context.wrap_socket(plain, server_hostname='localhost')
tls.sendall(b'EHLO client.example\r\n')
assert line(tls).startswith(b'250-')
";

#[test]
fn commands_piped_behind_starttls_are_not_obeyed() {
    if !have("python3") {
        return;
    }
    let (_cloud, proxy) = gmail();
    let certificate = proxy.folder.path().join("state/certs/cert.pem").display().to_string();
    python(PIPED, &[&proxy.port("SMTP"), &certificate]);
}
