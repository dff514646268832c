//! The plugin in a real Narthex, asking moto, which plays Amazon, over real connections. `run.sh`
//! beside this folder gets both; without them these tests are skipped.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panicking, and say what they skip"
)]

mod agent;
mod http;
mod machine;
mod moto;

use std::collections::BTreeSet;

use agent::Agent;
use machine::Machine;
use moto::Moto;

/// A job that finds instances and, as nobody is there to be scraped, drops them.
fn job(moto: &Moto, name: &str, fields: &str) -> String {
    let endpoint = moto.url();
    format!(
        "  - job_name: {name}\n    ec2_sd_configs:\n      - endpoint: {endpoint}\n        \
         refresh_interval: 2s\n        {}\n    relabel_configs:\n      - action: drop\n        \
         source_labels: [__address__]\n        regex: .*\n",
        fields.replace("; ", "\n        ")
    )
}

fn agent(moto: &Moto, jobs: &[String]) -> Agent {
    let config = format!("scrape_configs:\n{}", jobs.concat());
    Agent::new()
        .with("prometheus.yml", &config)
        .granted(&moto.url())
        .variable("AWS_ENDPOINT_URL_STS", &moto.url())
}

#[test]
fn a_thousand_instances_come_and_go() {
    let Some(moto) = Moto::start() else { return };
    for number in 0..1000 {
        let group = if number < 100 { "web" } else { "db" };
        moto.launch(&[("Name", &format!("machine {number}")), ("the:group", group)]);
    }
    let keys = "region: us-east-1; access_key: a; secret_key: s";
    let filters = "filters: [{name: 'tag:the:group', values: [web, other]}, \
                   {name: instance-state-name, values: [running]}]";
    let jobs = [
        job(&moto, "all", &format!("{keys}; port: 9100")),
        job(&moto, "web", &format!("{keys}; {filters}")),
    ];
    let agent = agent(&moto, &jobs).start();
    let Some(agent) = agent else { return };
    agent.until("1,000 instances", |agent| {
        agent.targets("all").len() == 1000
    });
    agent.until("100 of them", |agent| agent.targets("web").len() == 100);
    let targets = agent.targets("all");
    let all = |label: &str| -> BTreeSet<&str> {
        targets
            .iter()
            .map(|target| target[label].as_str())
            .collect()
    };
    assert_eq!(all("__meta_ec2_instance_id").len(), 1000);
    assert_eq!(all("__meta_ec2_tag_Name").len(), 1000);
    assert_eq!(all("__meta_ec2_region"), BTreeSet::from(["us-east-1"]));
    assert_eq!(
        all("__meta_ec2_tag_the_group"),
        BTreeSet::from(["db", "web"])
    );
    for target in &targets {
        let address = format!("{}:9100", target["__meta_ec2_private_ip"]);
        assert_eq!(target["__address__"], address);
        assert!(target["__meta_ec2_availability_zone_id"].starts_with("use1-az"));
    }
    let web = agent.targets("web");
    let (gone, new) = (&web[7]["__meta_ec2_instance_id"], ("the:group", "other"));
    moto.terminate(gone);
    moto.launch(&[new]);
    moto.launch(&[new]);
    agent.until("one gone and two new", |agent| {
        let targets = agent.targets("web");
        let is_there = targets
            .iter()
            .any(|target| &target["__meta_ec2_instance_id"] == gone);
        targets.len() == 101 && !is_there
    });
    agent.until("the two new among all", |agent| {
        let targets = agent.targets("all").into_iter();
        let others = targets.filter(|target| target["__meta_ec2_tag_the_group"] == "other");
        others.count() == 2
    });
    // Nobody is there any more: that is told, and changes nothing.
    let before = agent.targets("all").len();
    drop(moto);
    let told = "could not describe instances";
    agent.until(told, |agent| agent.log().contains(told));
    assert_eq!(agent.targets("all").len(), before);
    eprintln!("{}", agent.figures());
}

#[test]
fn credentials_of_each_source_are_accepted() {
    let Some(moto) = Moto::start() else { return };
    moto.launch(&[("Name", "one")]);
    let (key, secret) = moto.make_user();
    let role = moto.make_role();
    moto.check_signatures(true);
    let keys = format!("access_key: {key}; secret_key: {secret}");
    let region = "region: us-east-1";
    let profiles = format!(
        "[default]\naws_access_key_id = x\naws_secret_access_key = y\n\
         [good]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    );
    let jobs = [
        job(&moto, "keys", &format!("{region}; {keys}")),
        job(
            &moto,
            "wrong",
            &format!("{region}; access_key: {key}; secret_key: x"),
        ),
        job(
            &moto,
            "role",
            &format!("{region}; {keys}; role_arn: {role}; external_id: an-id"),
        ),
        job(&moto, "profile", &format!("{region}; profile: good")),
    ];
    let agent = agent(&moto, &jobs).with("credentials", &profiles);
    let file = format!("{}/credentials", agent.folder());
    let Some(configured) = agent.variable("AWS_SHARED_CREDENTIALS_FILE", &file).start() else {
        return;
    };
    for name in ["keys", "role", "profile"] {
        configured.until(name, |agent| agent.targets(name).len() == 1);
    }
    configured.until("a refusal", |agent| agent.log().contains("AuthFailure"));
    assert!(configured.targets("wrong").is_empty());
    drop(configured);

    let job_of_environment = [job(&moto, "found", region)];
    let of_environment = self::agent(&moto, &job_of_environment)
        .variable("AWS_ACCESS_KEY_ID", &key)
        .variable("AWS_SECRET_ACCESS_KEY", &secret);
    let of_web_identity = self::agent(&moto, &job_of_environment).with("token", "a-token");
    let file = format!("{}/token", of_web_identity.folder());
    let of_web_identity = of_web_identity
        .variable("AWS_WEB_IDENTITY_TOKEN_FILE", &file)
        .variable("AWS_ROLE_ARN", &role);
    for (name, agent) in [
        ("environment", of_environment),
        ("web identity", of_web_identity),
    ] {
        if name == "web identity" {
            // Whoever asks for that has no credentials yet, which moto knows nothing of.
            moto.check_signatures(false);
        }
        let agent = agent.start().unwrap();
        agent.until(name, |agent| agent.targets("found").len() == 1);
    }
}

#[test]
fn the_machine_says_region_and_credentials() {
    let Some(moto) = Moto::start() else { return };
    moto.launch(&[("Name", "one")]);
    let machine = Machine::start();
    let jobs = [job(&moto, "found", "port: 80")];
    let agent = agent(&moto, &jobs)
        .granted(&machine.url())
        .variable("AWS_EC2_METADATA_SERVICE_ENDPOINT", &machine.url());
    let Some(agent) = agent.start() else { return };
    agent.until("one", |agent| agent.targets("found").len() == 1);
    let region = &agent.targets("found")[0]["__meta_ec2_region"];
    assert_eq!(region, "us-east-1");
}

#[test]
fn metadata_are_not_asked_for_without_a_grant() {
    let Some(moto) = Moto::start() else { return };
    let jobs = [job(&moto, "found", "region: us-east-1")];
    let Some(agent) = agent(&moto, &jobs).start() else {
        return;
    };
    agent.until("an explanation", |agent| {
        let log = agent.log();
        let mut lines = log.lines();
        lines.any(|line| {
            line.contains("could not describe instances") && line.contains("169.254.169.254")
        })
    });
    assert!(
        agent.log().contains("http://169.254.169.254"),
        "{}",
        agent.log()
    );
}
