"use strict";
// Objects, closures, arrays, strings, sorting, regular expressions and numbers, each a share of the time.

let checksum = 0;
function mix(value) {
    checksum = (Math.imul(checksum, 31) + (value | 0)) | 0;
}

function seeded(seed) {
    return () => {
        seed ^= seed << 13;
        seed ^= seed >>> 17;
        seed ^= seed << 5;
        return seed >>> 0;
    };
}

class Shape {
    constructor(name) { this.name = name; }
    area() { return 0; }
}
class Circle extends Shape {
    constructor(radius) { super("circle"); this.radius = radius; }
    area() { return Math.PI * this.radius * this.radius; }
}
class Box extends Shape {
    constructor(width, height) { super("box"); this.width = width; this.height = height; }
    area() { return this.width * this.height; }
}

function objects() {
    let total = 0;
    for (let i = 0; i < 2000; i++) {
        const shape = i % 2 ? new Circle(i % 17) : new Box(i % 13, i % 7);
        total += shape.area() + shape.name.length;
    }
    mix(total);
}

function numbers() {
    const n = 24;
    const a = [], b = [];
    for (let i = 0; i < n * n; i++) {
        a.push(i % 7);
        b.push(i % 11);
    }
    let trace = 0;
    for (let i = 0; i < n; i++)
        for (let j = 0; j < n; j++) {
            let sum = 0;
            for (let k = 0; k < n; k++) sum += a[i * n + k] * b[k * n + j] * 0.5;
            if (i === j) trace += sum;
        }
    mix(trace);
}

function strings() {
    const random = seeded(77);
    const counts = new Map();
    let text = "";
    for (let i = 0; i < 500; i++) text += String.fromCharCode(97 + random() % 6) + (random() % 3 ? "" : " ");
    for (const word of text.split(" ")) counts.set(word, (counts.get(word) || 0) + 1);
    for (const [word, count] of counts) mix(word.length * count);
    mix(text.replace(/a+b|c[de]+/g, "<$&>").length);
    mix(JSON.stringify(JSON.parse(JSON.stringify([...counts]))).length);
}

function sorting() {
    const random = seeded(4242);
    const list = Array.from({ length: 600 }, random);
    list.sort((x, y) => x - y);
    mix(list.filter((x) => x % 3 === 0).map((x) => x >>> 7).reduce((x, y) => (x + y) | 0, 0));
}

function closures() {
    const fib = (n) => (n < 2 ? n : fib(n - 1) + fib(n - 2));
    mix(fib(15));
    const compose = (...functions) => (x) => functions.reduce((y, f) => f(y), x);
    const chain = compose((x) => x + 1, (x) => x * 3, (x) => x ^ 5);
    for (let i = 0; i < 300; i++) mix(chain(i));
}

const rounds = Math.max(1, Math.floor((140 * perMille) / 1000));
for (let round = 0; round < rounds; round++) {
    objects();
    numbers();
    strings();
    sorting();
    closures();
}
print("quickjs " + (checksum >>> 0).toString(16));
