//! moto's server, which plays EC2, IAM, STS and the metadata of a machine.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::agent::PATIENCE;
use crate::http::{ask, free_port};

pub(crate) struct Moto {
    process: Child,
    address: String,
}

const MOTO: &str = "EC2_TEST_MOTO";

impl Moto {
    /// None, with a line that says so, where there is none.
    pub(crate) fn start() -> Option<Self> {
        let Ok(program) = std::env::var(MOTO) else {
            eprintln!("skipped: {MOTO} is not set");
            return None;
        };
        let port = free_port();
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let moto = Moto {
            process,
            address: format!("127.0.0.1:{port}"),
        };
        let started = Instant::now();
        while ask("GET", &moto.address, "/moto-api/data.json", &[], "").is_none() {
            assert!(started.elapsed() < PATIENCE, "moto does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(moto)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether signatures and permissions are checked from now on.
    pub(crate) fn check_signatures(&self, checks: bool) {
        let requests_before = if checks { "0" } else { "inf" };
        let path = "/moto-api/reset-auth";
        let answer = ask("POST", &self.address, path, &[], requests_before);
        assert_eq!(answer.unwrap().0, 200);
    }

    pub(crate) fn launch(&self, tags: &[(&str, &str)]) {
        let mut form = "Action=RunInstances&ImageId=ami-12c6146b&MinCount=1&MaxCount=1\
                        &TagSpecification.1.ResourceType=instance"
            .to_owned();
        for (at, (key, value)) in tags.iter().enumerate() {
            let tag = format!("&TagSpecification.1.Tag.{}", at + 1);
            form += &format!("{tag}.Key={key}{tag}.Value={value}");
        }
        self.act("ec2", &form);
    }

    pub(crate) fn terminate(&self, id: &str) {
        self.act(
            "ec2",
            &format!("Action=TerminateInstances&InstanceId.1={id}"),
        );
    }

    /// The keys of a user who may do everything.
    pub(crate) fn make_user(&self) -> (String, String) {
        self.act("iam", "Action=CreateUser&UserName=u");
        self.act(
            "iam",
            &format!("Action=PutUserPolicy&UserName=u&PolicyName=p&{ALL}"),
        );
        let keys = self.act("iam", "Action=CreateAccessKey&UserName=u");
        (
            element(&keys, "AccessKeyId"),
            element(&keys, "SecretAccessKey"),
        )
    }

    /// The name of a role that may do everything.
    pub(crate) fn make_role(&self) -> String {
        let made = self.act(
            "iam",
            &format!("Action=CreateRole&RoleName=r&AssumeRole{ALL}"),
        );
        self.act(
            "iam",
            &format!("Action=PutRolePolicy&RoleName=r&PolicyName=p&{ALL}"),
        );
        element(&made, "Arn")
    }

    fn act(&self, service: &str, form: &str) -> String {
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/{service}/aws4_request, \
             SignedHeaders=host, Signature=s"
        );
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let (status, body) = ask("POST", &self.address, "/", &headers, form).unwrap();
        assert_eq!(status, 200, "{form}: {body}");
        body
    }
}

/// `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
const ALL: &str = "PolicyDocument=%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B\
                   %22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22%2A%22%2C%22Resource%22%3A%22\
                   %2A%22%7D%5D%7D";

fn element(xml: &str, name: &str) -> String {
    let (_, after) = xml.split_once(&format!("<{name}>")).unwrap();
    after.split('<').next().unwrap().to_owned()
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}
