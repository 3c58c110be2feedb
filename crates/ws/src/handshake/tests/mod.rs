mod answer;
mod client;
mod head;
mod properties;
mod samples;
mod server;
