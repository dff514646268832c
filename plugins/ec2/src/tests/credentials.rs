//! Whose credentials are used, from wherever they come, and when they are renewed.

use narthex_plugin_sdk::HttpErrorCode;
use narthex_plugin_sdk::fake::{Host, Reply};

use super::servers::{
    EC2, METADATA, NOW_S, STS, addresses, askers, ec2_error, errors, host, instances, parameter,
    requests, run, run_as_is, signer, sts_answer, time, xml,
};

const KEYS: &str = r#""access_key": "conf", "secret_key": "s""#;

/// Sets up a source of credentials.
type Prepare = fn(&Host);

fn with_environment(host: &Host) {
    host.set_environment("AWS_ACCESS_KEY_ID", "env")
        .set_environment("AWS_SECRET_ACCESS_KEY", "s");
}

fn with_files(host: &Host) {
    let credentials = "[default]\naws_access_key_id = shared\naws_secret_access_key = s\n\
        [other]\naws_access_key_id = other\naws_secret_access_key = s\naws_session_token = t\n";
    host.set_environment("HOME", "/home/n")
        .write("/home/n/.aws/credentials", credentials);
}

fn with_web_identity(host: &Host) {
    host.set_environment("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/token")
        .set_environment("AWS_ROLE_ARN", "arn:aws:iam::1:role/web")
        .write("/var/token", "first");
    serve_sts(host);
}

/// Gives credentials that are named by the role, or the token, that asked for them.
fn serve_sts(host: &Host) {
    let world = host.clone();
    let asked_so_far = move || {
        let asked = world.asked().into_iter();
        asked.filter(|asked| asked.url == STS).count() as u64
    };
    host.answer_with("POST", STS, move |asked| {
        // The clock of the fake host stands at the moment of the request, but cannot be read: each
        // answer is good for an hour after the hour before.
        let now_s = NOW_S + (asked_so_far() - 1) * 3600;
        let action = parameter(asked, "Action");
        let name = match action.as_str() {
            "AssumeRole" => format!("role-by-{}", signer(asked).replace(' ', "-")),
            _ => format!("web-by-{}", parameter(asked, "WebIdentityToken")),
        };
        sts_answer(&action, &name, 3600, now_s)
    });
}

fn with_metadata(host: &Host) {
    let path = |path: &str| format!("{METADATA}{path}");
    let role = "meta-data/iam/security-credentials/";
    let document = format!(
        r#"{{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "machine",
            "SecretAccessKey": "s", "Token": "t", "Expiration": "{}"}}"#,
        time(NOW_S + 6 * 3600)
    );
    let token = Reply::new(200)
        .header("x-aws-ec2-metadata-token-ttl-seconds", "21600")
        .body("metadata-token");
    host.answer("PUT", &path("api/token"), token)
        .answer("GET", &path(role), Reply::new(200).body("the-role"))
        .answer(
            "GET",
            &path(&format!("{role}the-role")),
            Reply::json(document),
        )
        .answer(
            "GET",
            &path("meta-data/placement/region"),
            Reply::new(200).body("eu-west-1"),
        );
}

fn with_container(host: &Host) {
    let url = "http://169.254.170.2/creds/1";
    let document = format!(
        r#"{{"AccessKeyId": "container", "SecretAccessKey": "s", "Token": "t",
            "Expiration": "{}"}}"#,
        time(NOW_S + 3600)
    );
    host.set_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/creds/1")
        .answer("GET", url, Reply::json(document));
}

fn without_metadata(host: &Host) {
    host.set_environment("AWS_EC2_METADATA_DISABLED", "true");
}

#[test]
fn each_source() {
    let cases: [(&str, Prepare, &str, &str); 7] = [
        ("configuration", |_| (), KEYS, "conf"),
        ("environment", with_environment, "", "env"),
        (
            "web identity",
            with_web_identity,
            "",
            "web-by-first t-web-by-first",
        ),
        ("shared file", with_files, "", "shared"),
        ("profile", with_files, r#""profile": "other""#, "other t"),
        ("container", with_container, "", "container t"),
        ("machine", with_metadata, "", "machine t"),
    ];
    for (name, prepare, config, expected) in cases {
        let host = host();
        prepare(&host);
        run(config);
        assert_eq!(askers(&host), [expected], "{name}: {:?}", errors(&host));
        assert_eq!(addresses(&host), [["10.0.0.1:80"]], "{name}");
    }
}

#[test]
fn their_order() {
    let all: [(Prepare, &str); 5] = [
        (with_environment, "env"),
        (with_web_identity, "web-by-first t-web-by-first"),
        (with_files, "shared"),
        (with_container, "container t"),
        (with_metadata, "machine t"),
    ];
    for (at, (_, expected)) in all.iter().enumerate() {
        let host = host();
        all[at..].iter().for_each(|(prepare, _)| prepare(&host));
        run("");
        assert_eq!(askers(&host), [*expected], "{:?}", errors(&host));
    }
    let host = host();
    all.iter().for_each(|(prepare, _)| prepare(&host));
    run(KEYS);
    run(r#""profile": "other""#);
    assert_eq!(askers(&host), ["conf", "other t"]);
}

#[test]
fn session_tokens_of_the_environment() {
    let host = host();
    with_environment(&host);
    host.set_environment("AWS_SESSION_TOKEN", "t");
    run("");
    assert_eq!(askers(&host), ["env t"]);
}

#[test]
fn files_lie_where_the_environment_says() {
    let host = host();
    let keys = "aws_access_key_id = elsewhere\naws_secret_access_key = s\n";
    host.set_environment("AWS_PROFILE", "p")
        .set_environment("AWS_SHARED_CREDENTIALS_FILE", "/etc/credentials")
        .set_environment("AWS_CONFIG_FILE", "/etc/config")
        .write("/etc/config", "[profile p]\nregion = eu-west-1\n")
        .write("/etc/credentials", format!("[p]\n{keys}"));
    // The region, too, is the profile's.
    run_as_is("{}");
    assert_eq!(askers(&host), ["elsewhere"]);
    assert_eq!(requests(&host), [format!("POST {EC2}")]);
}

#[test]
fn roles() {
    let host = host();
    with_files(&host);
    serve_sts(&host);
    let role = r#""role_arn": "arn:aws:iam::1:role/r", "external_id": "e/1""#;
    run(&format!(r#""profile": "other", {role}"#));
    assert_eq!(
        askers(&host),
        ["role-by-other-t t-role-by-other-t"],
        "{:?}",
        errors(&host)
    );
    let asked = host
        .asked()
        .into_iter()
        .find(|asked| asked.url == STS)
        .unwrap();
    let expected = ["AssumeRole", "arn:aws:iam::1:role/r", "e/1", "narthex"];
    let names = ["Action", "RoleArn", "ExternalId", "RoleSessionName"];
    assert_eq!(names.map(|name| parameter(&asked, name)), expected);
}

#[test]
fn roles_of_profiles() {
    let host = host();
    with_files(&host);
    serve_sts(&host);
    let config = "[profile web]\nrole_arn = arn:aws:iam::1:role/w\n\
        web_identity_token_file = /var/other\n\
        [profile chained]\nrole_arn = arn:aws:iam::1:role/c\nsource_profile = default\n";
    host.write("/home/n/.aws/config", config)
        .write("/var/other", "from-profile");
    run(r#""profile": "web""#);
    run(r#""profile": "chained""#);
    let expected = [
        "web-by-from-profile t-web-by-from-profile",
        "role-by-shared t-role-by-shared",
    ];
    assert_eq!(askers(&host), expected, "{:?}", errors(&host));
}

#[test]
fn containers_that_want_a_token() {
    let host = host();
    let url = "http://169.254.170.23/v1/credentials";
    let document = format!(
        r#"{{"AccessKeyId": "pod", "SecretAccessKey": "s", "Token": "t", "Expiration": "{}"}}"#,
        time(NOW_S + 3600)
    );
    host.set_environment("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
        .set_environment("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/var/pod-token")
        .write("/var/pod-token", "a-token")
        .answer("GET", url, Reply::json(document));
    run("");
    assert_eq!(askers(&host), ["pod t"], "{:?}", errors(&host));
    let asked = host.asked().into_iter().find(|asked| asked.url == url);
    let token = asked.unwrap().header("authorization").map(str::to_owned);
    assert_eq!(token.as_deref(), Some("a-token"));
}

#[test]
fn a_profile_that_needs_a_program_is_told() {
    for (text, expected) in [
        ("credential_process = /bin/x", "credential_process"),
        (
            "sso_session = s\nsso_account_id = 1\nsso_role_name = r",
            "sso_session",
        ),
    ] {
        let host = host();
        without_metadata(&host);
        host.set_environment("HOME", "/home/n")
            .write("/home/n/.aws/config", format!("[profile p]\n{text}\n"));
        run(r#""profile": "p""#);
        let text = errors(&host).join("\n");
        let expected = format!("profiles with {expected} are not understood");
        assert!(text.contains(&expected), "{text}");
    }
}

#[test]
fn another_sts() {
    let host = host();
    with_web_identity(&host);
    host.set_environment("AWS_ENDPOINT_URL_STS", "http://sts.local")
        .answer(
            "POST",
            "http://sts.local/",
            sts_answer("AssumeRoleWithWebIdentity", "local", 3600, NOW_S),
        );
    run("");
    assert_eq!(askers(&host), ["local t-local"]);
}

#[test]
fn what_ends_is_renewed_before() {
    let host = host();
    with_web_identity(&host);
    // Good for an hour, used for 55 minutes less a little jitter; then asked for with the token as it
    // then is.
    host.then_pass_ms(40 * 60_000);
    host.then(|host| {
        host.write("/var/token", "second");
    });
    host.then_pass_ms(20 * 60_000);
    run(r#""refresh_interval": "5m""#);
    let askers = askers(&host);
    assert_eq!(askers.len(), 13, "{:?}", errors(&host));
    assert_eq!(askers[0], "web-by-first t-web-by-first");
    assert_eq!(askers[8], "web-by-first t-web-by-first");
    assert_eq!(askers[12], "web-by-second t-web-by-second");
    let asked_sts = host.asked().into_iter().filter(|asked| asked.url == STS);
    assert_eq!(asked_sts.count(), 2);
}

#[test]
fn refused_credentials_are_looked_for_anew() {
    let host = host();
    with_files(&host);
    host.answer_with("POST", EC2, |asked| match signer(asked).as_str() {
        "shared" => ec2_error(401, "AuthFailure", "the key is not valid"),
        _ => xml(&instances(&["1"], None)),
    });
    host.then(|host| {
        let keys = "[default]\naws_access_key_id = new\naws_secret_access_key = s\n";
        host.write("/home/n/.aws/credentials", keys);
    });
    host.then_pass_ms(60_000);
    run("");
    assert_eq!(askers(&host), ["shared", "new"]);
    assert_eq!(addresses(&host), [["1:80"]]);
    assert_eq!(
        errors(&host),
        ["could not describe instances: AuthFailure: the key is not valid"]
    );
}

#[test]
fn the_region_of_the_environment_or_the_machine() {
    let host = host();
    host.set_environment("AWS_REGION", "eu-west-1");
    run_as_is(&format!("{{{KEYS}}}"));
    assert_eq!(askers(&host), ["conf"]);
    assert_eq!(requests(&host), [format!("POST {EC2}")]);

    let host = super::servers::host();
    with_metadata(&host);
    run_as_is("{}");
    assert_eq!(askers(&host), ["machine t"], "{:?}", errors(&host));
    let expected = [
        "PUT http://169.254.169.254/latest/api/token",
        "GET http://169.254.169.254/latest/meta-data/placement/region",
        "GET http://169.254.169.254/latest/meta-data/iam/security-credentials/",
        "GET http://169.254.169.254/latest/meta-data/iam/security-credentials/the-role",
        "POST https://ec2.eu-west-1.amazonaws.com/",
    ];
    assert_eq!(requests(&host), expected);
    let asked = host.asked();
    let gets = asked.iter().filter(|asked| asked.method == "GET");
    for asked in gets {
        let token = asked.header("x-aws-ec2-metadata-token");
        assert_eq!(token, Some("metadata-token"), "{}", asked.url);
    }
}

#[test]
fn what_is_missing_is_told() {
    let region = host();
    without_metadata(&region);
    run_as_is(&format!("{{{KEYS}}}"));
    assert!(errors(&region)[0].starts_with("could not determine the region: "));

    let keys = host();
    without_metadata(&keys);
    keys.set_environment("HOME", "/home/n");
    run("");
    let text = errors(&keys).join("\n");
    assert!(text.starts_with("could not describe instances: "), "{text}");
    assert!(
        text.contains("reading /home/n/.aws/credentials: no such file"),
        "{text}"
    );

    for (variable, config) in [("none", ""), ("default", r#""profile": "none""#)] {
        let profile = host();
        with_files(&profile);
        with_metadata(&profile);
        profile.set_environment("AWS_PROFILE", variable);
        run(config);
        let text = errors(&profile).join("\n");
        assert!(text.contains("there is no profile none"), "{text}");
    }

    let refused = host();
    let no = Reply::fails(
        HttpErrorCode::NotGranted,
        "not granted: add to narthex.yml ...",
    );
    refused.answer("PUT", &format!("{METADATA}api/token"), no);
    run("");
    let text = errors(&refused).join("\n");
    assert!(
        text.contains("not granted: add to narthex.yml ..."),
        "{text}"
    );

    let role = host();
    role.answer(
        "POST",
        STS,
        Reply::new(403).body(
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
             <Message>not authorized to perform sts:AssumeRole</Message></Error></ErrorResponse>",
        ),
    );
    run(&format!(r#"{KEYS}, "role_arn": "arn:aws:iam::1:role/r""#));
    let text = errors(&role).join("\n");
    assert!(
        text.contains("not authorized to perform sts:AssumeRole"),
        "{text}"
    );
    assert!(addresses(&role).is_empty());
}
