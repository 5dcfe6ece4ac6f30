"""The AGCL formula of docs/method.md, term by term: what the loss is tested against."""

import math


def loop_loss(similarity, bm25, temperature, margin, same_product, bm25_scale) -> float:
    s, raw = similarity.double().tolist(), bm25.double().tolist()
    total = 0.0
    for i in range(len(s)):
        own = raw[i][i]

        def weight(j, i=i, own=own):
            b = raw[i][j]
            if bm25_scale == "self":
                b = b / own if own != 0 else 0.0
            return math.exp(1 + math.tanh(b))

        numerator = weight(i) * math.exp(s[i][i] / temperature)
        denominator = numerator
        for j in range(len(s[i])):
            if j == i or s[i][j] > s[i][i] + margin:
                continue
            if same_product is not None and same_product[i][j]:
                continue
            denominator += weight(j) * math.exp(s[i][j] / temperature)
        total += -math.log(numerator / denominator)
    return total / len(s)
