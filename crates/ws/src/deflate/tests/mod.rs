mod codec;
mod negotiation;
mod scan;
