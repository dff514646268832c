//! What a query costs, part by part.

use super::*;

async fn explain(server: &Server, parameters: &str) -> Value {
    let path = format!("/api/v1/narthex/explain?{parameters}");
    let (status, body) = get(server, &path).await;
    assert_eq!(status, 200, "{parameters}: {body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["status"], "success", "{body}");
    answer["data"].clone()
}

#[tokio::test]
async fn an_explained_query_is_a_tree_of_what_was_done() {
    let server = start(true, false).await;
    let data = explain(&server, "query=m%20/%20m&time=60").await;
    assert_eq!(data["query"], "m / m");
    let nodes = data["nodes"].as_array().unwrap();
    let tree: Vec<Value> = nodes
        .iter()
        .map(|node| json!([node["id"], node["depth"], node["operation"], node["inputs"]]))
        .collect();
    assert_eq!(
        tree,
        [
            json!([2, 0, "/", [0, 1]]),
            json!([0, 1, "m", []]),
            json!([1, 1, "m", []]),
        ]
    );
    assert_eq!(nodes[1]["consumers"], 2);
    assert_eq!(nodes[2]["sameAs"], 0);
    assert_eq!(nodes[2].get("measured"), None);
    assert_eq!(
        nodes[2]["position"],
        json!({"start": 4, "end": 5, "line": 1, "column": 5})
    );
    let measured = &nodes[1]["measured"];
    assert_eq!(measured["series"], 2);
    assert_eq!(measured["samplesRead"], data["totals"]["samplesRead"]);
    assert!(measured["totalSeconds"].as_f64().unwrap() > 0.0);
    assert!(data["totals"]["seconds"].as_f64().unwrap() > 0.0);

    let data = explain(&server, "query=sum(m)&start=0&end=120&step=60").await;
    let root = &data["nodes"][0];
    assert_eq!(
        (&root["text"], &root["steps"]),
        (&json!("sum(m)"), &json!(3))
    );
    assert_eq!(root["measured"]["values"], 3);
}

#[tokio::test]
async fn a_plan_is_shown_without_running_it() {
    let server = start(true, false).await;
    let data = explain(&server, "query=sum(m)&run=false").await;
    assert_eq!(data.get("totals"), None);
    assert_eq!(data["nodes"][0]["operation"], "sum");
    assert_eq!(data["nodes"][0].get("measured"), None);

    let form = "content-type: application/x-www-form-urlencoded\r\n";
    let path = "/api/v1/narthex/explain";
    let (status, _, body) = request(&server, "POST", path, form, "query=m&run=false").await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("\"operation\":\"m\""), "{text}");
    for (parameters, status) in [
        ("query=m{", 400),
        ("query=m&run=perhaps", 400),
        ("query=m&start=0", 400),
        ("query=m[5m]&start=0&end=1&step=1", 400),
        ("query=topk(NaN,m)", 422),
        ("query=topk(NaN,m)&run=false", 200),
        ("query=m[1m-1m]&run=false", 422),
    ] {
        let (got, body) = get(&server, &format!("{path}?{parameters}")).await;
        assert_eq!(got, status, "{parameters}: {body}");
    }
}
