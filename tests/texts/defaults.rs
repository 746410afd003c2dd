#[tokio::test]
async fn show() {
    use tornadose::*;
    use tornadose::backplane::*;
    println!("{:?}", Retention::new());
    println!("{:?}", QueueStore::builder());
    println!("{:?}", DataStore::builder());
    println!("{:?}", Hub::builder());
    println!("{:?}", Policy::default());
    println!("{:?}", Permit::new());
    println!("{:?}", Subscribe::default());
    let tcp = || async { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap() };
    println!("{:?}", Server::new(tcp().await));
    println!("{:?}", Listener::new(tcp().await));
    println!("{:?}", Durable::builder("x"));
    println!("{:?}", Redis::new("redis://127.0.0.1"));
    println!("{:?}", Nats::new("nats://127.0.0.1"));
}
