// A program with javax.mail, as business software has it. Arguments: port, number of messages in
// the inbox, login, password. It asks on its standard output for a delivery and waits for it in IDLE.
import com.sun.mail.imap.IMAPFolder;
import java.io.InputStream;
import java.util.Date;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import javax.mail.*;
import javax.mail.event.MessageCountAdapter;
import javax.mail.event.MessageCountEvent;
import javax.mail.internet.*;
import javax.mail.search.*;

public class Client {
    static void check(boolean holds, String what) {
        if (!holds) throw new AssertionError(what);
    }

    static void same(Object found, Object expected, String what) {
        check(found.equals(expected), what + ": " + found + ", not " + expected);
    }

    public static void main(String[] arguments) throws Exception {
        Properties settings = new Properties();
        settings.put("mail.imap.timeout", "30000");
        settings.put("mail.debug", System.getProperty("mail.debug", "false"));
        Session session = Session.getInstance(settings);
        Store store = session.getStore("imap");
        store.connect("localhost", Integer.parseInt(arguments[0]), arguments[2], arguments[3]);
        folders(store);
        int count = Integer.parseInt(arguments[1]);
        IMAPFolder inbox = (IMAPFolder) store.getFolder("INBOX");
        inbox.open(Folder.READ_WRITE);
        same(inbox.getMessageCount(), count, "messages");
        profile(inbox, count);
        contents(inbox);
        searches(inbox, count);
        Folder archive = store.getFolder("Java/Ablage für Übersichten");
        changes(session, store, inbox, archive, count);
        idle(inbox, count);
        inbox.close(true);
        same(archive.delete(false), true, "archive deleted");
        store.close();
        System.out.println("done");
    }

    static void folders(Store store) throws MessagingException {
        StringBuilder names = new StringBuilder();
        for (Folder folder : store.getDefaultFolder().list("*")) {
            names.append('[').append(folder.getFullName()).append(']');
            check((folder.getType() & Folder.HOLDS_MESSAGES) != 0, folder.getFullName());
            check(folder.getMessageCount() >= 0, folder.getFullName());
        }
        check(names.indexOf("[INBOX]") >= 0 && names.indexOf("[Drafts]") >= 0, names.toString());
        same(store.getDefaultFolder().getSeparator(), '/', "separator");
    }

    static void profile(Folder inbox, int count) throws MessagingException {
        FetchProfile profile = new FetchProfile();
        profile.add(FetchProfile.Item.ENVELOPE);
        profile.add(FetchProfile.Item.FLAGS);
        profile.add(FetchProfile.Item.CONTENT_INFO);
        profile.add(FetchProfile.Item.SIZE);
        profile.add(UIDFolder.FetchProfileItem.UID);
        profile.add("Message-ID");
        Message[] messages = inbox.getMessages();
        inbox.fetch(messages, profile);
        for (int number = 0; number < count - 1; number++) {
            Message message = messages[number];
            same(message.getSubject(), "letter " + number, "subject");
            InternetAddress from = (InternetAddress) message.getFrom()[0];
            same(from.getPersonal(), "Jörg", "sender");
            same(from.getAddress(), "joerg@partner.example", "sender");
            check(message.getReceivedDate() != null && message.getSize() > 0, "date and size");
            check(message.getSentDate() != null, "sent date");
            String id = "<" + number + ".letter@partner.example>";
            same(message.getHeader("Message-ID")[0], id, "id");
            String type = number % 3 == 0 || number % 5 == 0 ? "multipart/mixed" : "text/plain";
            check(message.isMimeType(type), message.getContentType());
        }
    }

    // javax.mail reads parts in pieces of 16 KB: BODY.PEEK[2]<0.16384> and so on.
    static void contents(IMAPFolder inbox) throws Exception {
        Message message = inbox.search(new SubjectTerm("large one"))[0];
        Multipart parts = (Multipart) message.getContent();
        same(parts.getCount(), 2, "parts");
        check(parts.getBodyPart(0).getContent().toString().contains("Zwölf"), "text");
        Part attachment = parts.getBodyPart(1);
        same(MimeUtility.decodeText(attachment.getFileName()), "große Liste.bin", "name");
        int length = 0;
        try (InputStream stream = attachment.getInputStream()) {
            for (int octet; (octet = stream.read()) >= 0; length++) {
                check(octet == (length * 7 & 255), "octet " + length);
            }
        }
        same(length, 100000, "octets");
        check(message.isSet(Flags.Flag.SEEN), "read is seen");
        Message nested = inbox.search(new SubjectTerm("letter 5"))[0];
        Part inner = ((Multipart) nested.getContent()).getBodyPart(1);
        same(((Message) inner.getContent()).getSubject(), "inner 5", "enclosed");
    }

    static void finds(Folder inbox, int expected, SearchTerm term) throws MessagingException {
        same(inbox.search(term).length, expected, term.getClass().getName());
    }

    static void searches(Folder inbox, int count) throws MessagingException {
        finds(inbox, 1, new SubjectTerm("letter 7"));
        finds(inbox, count - 1, new FromStringTerm("joerg@"));
        finds(inbox, count - 1, new FromStringTerm("Jörg"));
        finds(inbox, 1, new BodyTerm("Boxkämpfer, 7"));
        finds(inbox, 1, new MessageIDTerm("<3.letter@partner.example>"));
        finds(inbox, 1, new SizeTerm(ComparisonTerm.GT, 90000));
        Date tomorrow = new Date(System.currentTimeMillis() + 86400000L * 2);
        finds(inbox, count, new ReceivedDateTerm(ComparisonTerm.LT, tomorrow));
        finds(inbox, 1, new AndTerm(new FlagTerm(new Flags(Flags.Flag.SEEN), true),
            new NotTerm(new SubjectTerm("letter"))));
        finds(inbox, 2, new OrTerm(new SubjectTerm("letter 7"), new SubjectTerm("letter 8")));
    }

    static void changes(
        Session session, Store store, IMAPFolder inbox, Folder archive, int count)
        throws Exception {
        check(!archive.exists() && archive.create(Folder.HOLDS_MESSAGES), "created");
        check(archive.exists(), "exists");
        inbox.copyMessages(inbox.getMessages(1, 3), archive);
        MimeMessage letter = new MimeMessage(session);
        letter.setFrom(new InternetAddress("a@b.example", "Änne", "utf-8"));
        letter.setRecipients(Message.RecipientType.TO, "office@contoso.example");
        letter.setSubject("Angehängt", "utf-8");
        letter.setSentDate(new Date(1700000000000L));
        MimeBodyPart text = new MimeBodyPart();
        text.setText("Grüße", "utf-8");
        MimeBodyPart file = new MimeBodyPart();
        file.setFileName("a.txt");
        file.setText("0123456789\n".repeat(2000));
        letter.setContent(new MimeMultipart(text, file));
        letter.setFlag(Flags.Flag.SEEN, true);
        archive.appendMessages(new Message[] {letter});
        archive.open(Folder.READ_WRITE);
        same(archive.getMessageCount(), 4, "in the archive");
        Message appended = archive.getMessage(4);
        same(appended.getSubject(), "Angehängt", "subject");
        check(appended.isSet(Flags.Flag.SEEN), "seen");
        check(!appended.isSet(Flags.Flag.DRAFT), "no draft");
        same(((Multipart) appended.getContent()).getCount(), 2, "parts");
        same(archive.getMessage(1).getSubject(), "letter 0", "copied");
        archive.setFlags(1, 2, new Flags(Flags.Flag.DELETED), true);
        same(archive.expunge().length, 2, "expunged");
        same(archive.getMessageCount(), 2, "left");
        inbox.moveMessages(inbox.getMessages(1, 1), archive);
        // By itself it does not within a second of the last command.
        ((IMAPFolder) archive).doCommand(protocol -> {
            protocol.noop();
            return null;
        });
        same(archive.getMessageCount(), 3, "moved");
        // It keeps the numbers of what is gone until the program says this.
        inbox.expunge();
        inbox.getMessage(1).setFlag(Flags.Flag.FLAGGED, true);
        Flags user = new Flags("Rechnung");
        inbox.getMessage(1).setFlags(user, true);
        check(inbox.getMessage(1).getFlags().contains("Rechnung"), "keyword");
        same(inbox.getMessageCount(), count - 1, "left in the inbox");
        archive.close(false);
    }

    static void idle(IMAPFolder inbox, int count) throws Exception {
        CountDownLatch arrived = new CountDownLatch(1);
        inbox.addMessageCountListener(new MessageCountAdapter() {
            @Override
            public void messagesAdded(MessageCountEvent event) {
                arrived.countDown();
            }
        });
        Thread waiting = new Thread(() -> {
            try {
                inbox.idle(true);
            } catch (MessagingException trouble) {
                trouble.printStackTrace();
            }
        });
        waiting.start();
        System.out.println("deliver");
        check(arrived.await(30, TimeUnit.SECONDS), "nothing arrived");
        waiting.join();
        same(inbox.getMessageCount(), count, "with the new one");
        same(inbox.getMessage(count).getSubject(), "letter 500", "the new one");
    }
}
