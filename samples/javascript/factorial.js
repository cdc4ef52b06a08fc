// factorial [n=20000]: n! as a big number, digit by digit as one learns it in school, and what the sample `factorial` prints.
// What it prints depends on `n` alone. Every 500 ms it says on standard error how far it is.

const BASE = 1e7;

/** Digits of BASE, the least significant first. */
function factorial(n) {
  const product = [1];
  let reported = performance.now();
  for (let factor = 2; factor <= n; factor++) {
    let carry = 0;
    for (let at = 0; at < product.length; at++) {
      const value = product[at] * factor + carry;
      product[at] = value % BASE;
      carry = Math.floor(value / BASE);
    }
    for (; carry > 0; carry = Math.floor(carry / BASE)) product.push(carry % BASE);
    if (performance.now() - reported >= 500) {
      console.error(`progress: ${factor} of ${n}, ${product.length * 7} digits`);
      reported = performance.now();
    }
  }
  return product;
}

/** FNV-1a, 64 bits wide. */
function checksum(digits) {
  let hash = 0xcbf29ce484222325n;
  for (const digit of digits) hash = ((hash ^ BigInt(digit.charCodeAt(0))) * 0x100000001b3n) & 0xffffffffffffffffn;
  return hash.toString(16).padStart(16, '0');
}

const n = Number(process.argv[2] ?? 20_000);
if (!Number.isInteger(n) || n < 0) {
  console.error('usage: factorial [n=20000]');
  process.exit(2);
}
const [first, ...others] = factorial(n).reverse();
const digits = first + others.map((digit) => String(digit).padStart(7, '0')).join('');
const significant = digits.replace(/0+$/, '');
console.log(`${n}! has ${digits.length} digits, the last ${digits.length - significant.length} of them zeros`);
console.log(`it begins ${significant.slice(0, 20)} and ends ${significant.slice(-20)} before the zeros`);
const sum = [...digits].reduce((sum, digit) => sum + Number(digit), 0);
console.log(`sum of digits ${sum}, checksum ${checksum(digits)}`);
