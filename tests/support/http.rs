//! Requests and answers as plain JSON.

use reqwest::{Method, header::HeaderMap};
use serde_json::Value;

use super::TestServer;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// JSON, or null when the body is empty; text that is not JSON as a string.
    pub body: Value,
}

impl Answer {
    /// The body of an answer with this status; fails the test otherwise, showing the answer.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// The body of any 2xx answer; fails the test otherwise, showing the answer.
    #[track_caller]
    pub fn expect_success(self) -> Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.body);
        self.body
    }

    /// The details of an error with this status and code; fails the test otherwise.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(code)), "{}", self.body);
        assert!(self.body["message"].is_string() && self.body["request_id"].is_string(), "{}", self.body);
        self.body["details"].clone()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
        };
        Self { status, headers, body }
    }
}

impl TestServer {
    /// GET.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.request(Method::GET, path, token, None).await
    }

    /// POST with a JSON body.
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        self.request(Method::POST, path, token, Some(body)).await
    }

    /// PUT with a JSON body.
    pub async fn put(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        self.request(Method::PUT, path, token, Some(body)).await
    }

    /// DELETE without a body.
    pub async fn delete(&self, path: &str, token: Option<&str>) -> Answer {
        self.request(Method::DELETE, path, token, None).await
    }

    /// Any method.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        Answer::of(request.send().await.unwrap()).await
    }

    /// POST with a JSON body and an idempotency key.
    pub async fn post_with_key(&self, path: &str, token: Option<&str>, key: &str, body: &Value) -> Answer {
        let mut request = self.client.post(format!("{}{path}", self.url)).header("idempotency-key", key);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        Answer::of(request.json(body).send().await.unwrap()).await
    }

    /// The current metrics.
    pub async fn metrics(&self) -> String {
        self.client.get(&self.metrics_url).send().await.unwrap().text().await.unwrap()
    }
}
