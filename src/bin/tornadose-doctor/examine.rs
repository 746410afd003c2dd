//! Which questions are asked of a server, in which order.

use std::time::Duration;

use http::Method;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, LOCATION, ORIGIN, USER_AGENT,
};

use crate::arguments::Settings;
use crate::client::{Answer, Client};
use crate::seen::{Failure, Head, Redirect, Resumed, Seen, Stream};
use crate::target::Target;
use crate::watch::{watch, watch_replay};

/// As many as browsers follow.
const REDIRECTS: usize = 20;

/// A stream that goes on is watched for this long, and as long as it took to begin.
const RESUMED: Duration = Duration::from_secs(2);

/// Nobody's origin, and nobody's id.
pub(crate) const FOREIGN: HeaderValue =
    HeaderValue::from_static("https://tornadose-doctor.invalid");
const NONSENSE: HeaderValue = HeaderValue::from_static("tornadose-doctor, 1-2_3:4");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// # Errors
///
/// A sentence, if nothing could be asked at all.
pub(crate) async fn examine(settings: &Settings) -> Result<Seen, String> {
    let client = Client::new(settings.timeout, settings.ca.as_deref())?;
    let examination = Examination {
        settings,
        client: &client,
    };
    Ok(examination.run().await)
}

struct Examination<'a> {
    settings: &'a Settings,
    client: &'a Client,
}

/// Where the redirects led to, and whether a secret may be told there.
struct Place {
    target: Target,
    is_home: bool,
}

impl Examination<'_> {
    async fn run(&self) -> Seen {
        let mut seen = Seen::default();
        let direct = async {
            match &self.settings.direct {
                Some(target) => Some(self.direct(target).await),
                None => None,
            }
        };
        let (place, direct) = tokio::join!(self.main(&mut seen), direct);
        seen.direct = direct;
        let (Some(place), Some(Ok(main))) = (place, &seen.main) else {
            return seen;
        };
        seen.is_secure = place.target.is_secure();
        if !main.head.is_event_stream() {
            return seen;
        }
        let read = match &seen.plain {
            Some(Ok(plain)) => plain,
            _ => main,
        };
        // One after another: a server may allow a client few streams at a time.
        seen.resumed = self.resume(&place, read).await;
        seen.nonsense = Some(self.nonsense(&place).await);
        seen.preflight = self.preflight(&place).await;
        seen.foreign = self.foreign(&place).await;
        seen
    }

    /// Asks as a browser does, goes where it is sent, and watches what there is.
    async fn main(&self, seen: &mut Seen) -> Option<Place> {
        let mut place = Place {
            target: self.settings.target.clone(),
            is_home: true,
        };
        let deadline = self.client.now() + self.settings.timeout + self.head_within();
        let answer = loop {
            if self.client.now() > deadline {
                seen.lost = Some("the redirects take too long".to_owned());
                return None;
            }
            let answer = match self.open(&place, self.browser(&place)).await {
                Ok(answer) => answer,
                Err(failure) => {
                    seen.main = Some(Err(failure));
                    return None;
                }
            };
            let Some(redirect) = redirect(&place.target, &answer.head) else {
                break answer;
            };
            if seen.redirects.len() >= REDIRECTS {
                seen.lost = Some(format!("there are more than {REDIRECTS} redirects"));
                return None;
            }
            let target = match redirect {
                Ok(target) => target,
                Err(wrong) => {
                    seen.lost = Some(wrong);
                    return None;
                }
            };
            let is_to_other_origin = !target.is_same_origin(&place.target);
            seen.redirects.push(Redirect {
                status: answer.head.status,
                to: target.shown(),
                is_to_insecure: place.target.is_secure() && !target.is_secure(),
                is_to_other_origin,
            });
            place = Place {
                target,
                is_home: place.is_home && !is_to_other_origin,
            };
        };
        if !answer.head.is_event_stream() {
            // What follows is of no interest.
            let stream = watch(self.client, answer, self.client.now()).await;
            seen.main = Some(Ok(stream));
            return Some(place);
        }
        let until = self.client.now() + self.settings.wait;
        let is_compressed = answer.head.is_compressed();
        let plain = async {
            match is_compressed {
                true => Some(self.plain(&place, until).await),
                false => None,
            }
        };
        let (main, plain) = tokio::join!(watch(self.client, answer, until), plain);
        seen.main = Some(Ok(main));
        seen.plain = plain;
        Some(place)
    }

    async fn plain(&self, place: &Place, until: Duration) -> Result<Stream, Failure> {
        let answer = self.open(place, self.uncompressed(place)).await?;
        Ok(watch(self.client, answer, until).await)
    }

    async fn direct(&self, target: &Target) -> Result<Stream, Failure> {
        let place = Place {
            target: target.clone(),
            is_home: true,
        };
        let answer = self.open(&place, self.uncompressed(&place)).await?;
        let until = self.client.now() + self.settings.wait;
        Ok(watch(self.client, answer, until).await)
    }

    async fn preflight(&self, place: &Place) -> Option<Result<Head, Failure>> {
        let origin = self.settings.other_origin(place.is_home)?.clone();
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_REQUEST_METHOD,
            HeaderValue::from_static("GET"),
        );
        let asked = HeaderValue::from_static("last-event-id");
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, asked);
        Some(self.head(place, Method::OPTIONS, headers).await)
    }

    async fn foreign(&self, place: &Place) -> Option<Result<Head, Failure>> {
        self.settings.other_origin(place.is_home)?;
        let mut headers = self.browser(place);
        headers.insert(ORIGIN, FOREIGN);
        Some(self.head(place, Method::GET, headers).await)
    }

    /// Goes on behind the last event but one, so that it is known what has to follow.
    async fn resume(&self, place: &Place, read: &Stream) -> Option<Resumed> {
        let events = &read.text.remembered;
        // Of a flood not the end is known, but the beginning, which may be gone again.
        if u64::try_from(events.len()).ok()? < read.text.events {
            return None;
        }
        let mut with_ids = events.iter().enumerate().rev();
        let mut with_ids = with_ids.by_ref().filter(|(_, event)| event.id.is_some());
        let last = with_ids.next()?;
        let (index, event) = with_ids.next().unwrap_or(last);
        let id = HeaderValue::from_bytes(event.id.as_deref()?).ok()?;
        let mut headers = self.uncompressed(place);
        headers.insert(LAST_EVENT_ID, id);
        let answer = match self.open(place, headers).await {
            Ok(answer) => {
                let patience = RESUMED + read.first_byte_after().unwrap_or_default();
                let until = self.client.now() + self.settings.wait.min(patience);
                Ok(watch_replay(self.client, answer, until).await)
            }
            Err(failure) => Err(failure),
        };
        Some(Resumed {
            from: index + 1,
            answer,
        })
    }

    async fn nonsense(&self, place: &Place) -> Result<Head, Failure> {
        let mut headers = self.browser(place);
        headers.insert(LAST_EVENT_ID, NONSENSE);
        self.head(place, Method::GET, headers).await
    }

    async fn open(&self, place: &Place, headers: HeaderMap) -> Result<Answer, Failure> {
        let (client, target) = (self.client, &place.target);
        client
            .ask(target, Method::GET, headers, self.head_within())
            .await
    }

    /// A head that is held back may come with the first events.
    fn head_within(&self) -> Duration {
        self.settings.timeout.max(self.settings.wait)
    }

    async fn head(
        &self,
        place: &Place,
        method: Method,
        headers: HeaderMap,
    ) -> Result<Head, Failure> {
        let (client, target) = (self.client, &place.target);
        let answer = client
            .ask(target, method, headers, self.settings.timeout)
            .await;
        answer.map(|answer| answer.head)
    }

    /// What a browser sends with an `EventSource`.
    fn browser(&self, place: &Place) -> HeaderMap {
        let encodings = match place.target.is_secure() {
            true => "gzip, deflate, br, zstd",
            false => "gzip, deflate",
        };
        self.headers(place, encodings)
    }

    fn uncompressed(&self, place: &Place) -> HeaderMap {
        self.headers(place, "identity")
    }

    fn headers(&self, place: &Place, encodings: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encodings));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let agent = concat!("tornadose-doctor/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(origin) = self.settings.other_origin(place.is_home) {
            headers.insert(ORIGIN, origin.clone());
        }
        if place.is_home {
            for name in self.settings.headers.keys() {
                headers.remove(name);
            }
            headers.extend(self.settings.headers.clone());
        }
        headers
    }
}

/// Where this head leads to, if it leads on.
fn redirect(from: &Target, head: &Head) -> Option<Result<Target, String>> {
    if !matches!(head.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let Some(location) = head.header(LOCATION.as_str()) else {
        return Some(Err(format!("{} without a location", head.status)));
    };
    let wrong = || format!("{} to what is no URL", head.status);
    Some(from.join(location).map_err(|_| wrong()))
}
